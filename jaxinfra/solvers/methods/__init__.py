"""Methods of optimisation that are told function, gradient and curvature: Newton and L-BFGS, active sets, prox."""
