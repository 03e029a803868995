"""Compiled kernels for CPUs. README.md says what they gain and how to do without them."""
