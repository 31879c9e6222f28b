"""The tokenizer: an item's attributes → features → codes."""
