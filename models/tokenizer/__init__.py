"""The tokenizer: an item's attributes to features, and features to codes."""
