"""Methods of optimisation that do not depend on a loss: Newton, L-BFGS, active sets, proximal gradients."""
