"""Serving: the models that answer, and how a recommendation is made of them."""
