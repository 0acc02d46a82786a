"""The dual of support vector machines: decomposition, certificate, derivatives, low rank; kernel ridge."""
