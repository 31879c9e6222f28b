"""Features: what of an item's content and its company becomes numbers."""
