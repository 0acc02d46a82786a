"""Methods of optimisation that know no loss: Newton and L-BFGS, active sets, proximal gradients, semismooth Newton."""
