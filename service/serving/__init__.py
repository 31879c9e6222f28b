"""Serving: loads models, gives them roles (active, canary, shadow), and makes recommendations with them."""
