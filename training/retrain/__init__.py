"""Retraining: goes on from a bundle with the events that came after it. Known items keep their semantic IDs."""
