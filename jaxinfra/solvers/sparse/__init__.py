"""Least squares with a penalty that has kinks: lasso and elastic net, groups, coefficients that are not negative."""
