"""Plays the events of MovieLens-100K in time, and compares retraining with no and with full training."""
