"""The catalogue of one replica: an immutable state (`Snapshot`), and the function that applies changes to it."""
