"""Smooth losses of one linear predictor: penalised likelihoods and losses, ordered classes."""
