"""Replication: all replicas have the same catalogue, because they apply the changes of one change log in Redis."""
