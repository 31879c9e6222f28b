"""Makes what helps people to understand a model: the meaning of codes, and a map of the catalogue."""
