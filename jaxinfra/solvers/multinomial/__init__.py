"""The multinomial likelihood: one linear predictor a class, with a smooth or an L1 penalty."""
