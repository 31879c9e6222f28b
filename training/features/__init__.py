"""Item features: attributes, text and co-occurrence as columns of numbers."""
