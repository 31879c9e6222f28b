"""Replication: how all replicas come to the same catalogue through Redis."""
