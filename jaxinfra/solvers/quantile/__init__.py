"""Quantile regression as a linear program: an interior point, then a vertex."""
