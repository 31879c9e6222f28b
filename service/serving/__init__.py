"""Serving: loads models, gives them roles, and makes recommendations with them."""
