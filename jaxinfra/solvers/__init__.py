"""Algorithms, from data to a fit; no file reads the arguments of a user.

    linalg         matrices and the frame of a design's columns
    methods        methods of optimisation that do not depend on a loss
    least_squares  least squares with a ridge penalty
    likelihood     smooth losses of one linear predictor
    quantile       quantile regression as a linear program
    dual           the dual of support vector machines
    sparse         least squares with a penalty that has kinks
    multinomial    the multinomial likelihood
    robust         regression that outliers do not move

A room imports only rooms further up, and no other of its own level: `linalg`; `methods`; the four that follow; the
last three, of which `sparse` and `robust` build on `least_squares`, `multinomial` on `likelihood`.  A solver that
serves one model has its name.
"""
