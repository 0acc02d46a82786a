"""The dual of support vector machines: decomposition, its certificate and derivatives, low-rank kernels."""
