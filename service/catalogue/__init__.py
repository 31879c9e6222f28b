"""The catalogue of one replica: one immutable state, and the one way to the next."""
