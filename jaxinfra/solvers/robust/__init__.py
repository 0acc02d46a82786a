"""Regression that outliers do not move: Huber with scale, M-estimators, subsets of rows, spatial medians."""
