"""Level 1: algorithms that know no model."""
