"""Code that several benchmarks share. None of it is a command."""
