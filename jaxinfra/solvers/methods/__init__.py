"""Methods of optimisation that do not depend on a loss: (semismooth) Newton, BFGS, active sets, prox-gradients."""
