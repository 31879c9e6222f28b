"""The trie: a catalogue's semantic IDs as flat arrays."""
