"""Recommends new items, which the model did not learn to generate, beside the items that the search finds."""
