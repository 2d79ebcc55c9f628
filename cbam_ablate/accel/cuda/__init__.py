"""Steps on CUDA: compiled, and recorded as one graph."""
