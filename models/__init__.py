"""The models and data structures that training and serving share, in one folder per subject."""
