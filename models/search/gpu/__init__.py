"""Runs the search on a GPU: inputs of few shapes, and CUDA graphs."""
