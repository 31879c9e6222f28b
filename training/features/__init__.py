"""Item features: turns attributes, text and co-occurrence into columns of numbers."""
