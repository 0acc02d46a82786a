"""The multinomial likelihood: K linear predictors, with a smooth or an L1 penalty."""
