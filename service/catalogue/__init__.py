"""The catalogue of one replica: one immutable state (`Snapshot`), and one function that makes the next state."""
