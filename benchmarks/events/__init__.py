"""Measurements of the events that come back from users."""
