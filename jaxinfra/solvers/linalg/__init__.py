"""Matrices and the frame of a design's columns: Cholesky and rank-revealing factors, products, centre and scale."""
