"""Level 0: what every model stands on.  Imports jax and nothing of jaxinfra above it."""
