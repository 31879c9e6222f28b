"""Replication: all replicas come to the same catalogue through a change log in Redis."""
