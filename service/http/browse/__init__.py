"""The routes for looking at a model and its catalogue."""
