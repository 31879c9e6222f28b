"""A measurement of what is lost or counted twice when replicas, Redis and exports are killed."""
