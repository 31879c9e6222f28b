"""Replication: all replicas reach the same catalogue through a change log in Redis."""
