"""Readers of raw files, the checked data set, the split and the training sequences."""
