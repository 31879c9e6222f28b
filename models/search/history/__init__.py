"""Candidates that the items of a user's history point at: these items themselves, and items that followed them."""
