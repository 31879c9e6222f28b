"""What people look at to understand a catalogue: the tree of its semantic IDs, and a map of its items."""
