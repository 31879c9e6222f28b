"""Ratings and event types of interactions: their checks, and how training uses them."""
