"""Computes the codes and the vectors of new items: items that users did not choose in the training data."""
