"""The trie: a catalogue's semantic IDs as a prefix tree of flat arrays."""
