"""Control over the list of a request: caps, boosts, pins and diversity."""
