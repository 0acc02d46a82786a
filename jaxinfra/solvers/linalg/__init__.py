"""Matrices: Cholesky factors, rank-revealing factors, products; no loss and no penalty is known here."""
