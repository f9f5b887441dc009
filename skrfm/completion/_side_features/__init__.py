"""Completion by kernels of rows and columns."""
