"""Least squares with a ridge penalty: tall or wide, one penalty or a path; moments, residual correction."""
