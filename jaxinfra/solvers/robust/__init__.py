"""Regression that outliers do not move: Huber with scale, M-estimators, subsets of the rows, spatial medians."""
