"""Outcome statistics: whether users do better with the canary than with the active model. No input or output."""
