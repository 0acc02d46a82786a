"""Regression that outliers do not move: Huber with scale, M-estimators, RANSAC, Theil-Sen, spatial medians."""
