"""The dual of support vector machines: decomposition, its certificate and derivatives, kernels of low rank."""
