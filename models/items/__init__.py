"""Computes the codes and the vectors of new items, which training did not know."""
