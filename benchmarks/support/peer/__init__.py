"""The usual way to generate semantic IDs, `transformers.generate`, as a search and as a service."""
