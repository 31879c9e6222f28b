"""The sections of the training report, one family of figures a file. Each file has a function from `Material`."""
