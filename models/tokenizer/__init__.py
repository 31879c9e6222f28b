"""The tokenizer: computes the features of an item from its attributes, and its codes from the features."""
