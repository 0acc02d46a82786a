"""Methods of optimisation that do not depend on a loss: (semismooth) Newton, L-BFGS, active sets, prox-gradients."""
