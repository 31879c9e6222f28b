"""Reads raw data files, checks them, splits the interactions for evaluation, and makes training batches."""
