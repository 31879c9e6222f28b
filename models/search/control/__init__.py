"""List control: caps, boosts, pins and diversity act on the candidates of a search. All functions work on arrays."""
