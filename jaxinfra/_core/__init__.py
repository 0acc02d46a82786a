"""Level 0: the ground of every model.  Imports jax and nothing of jaxinfra above it."""
