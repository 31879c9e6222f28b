"""Looks into a catalogue: items like one, search by words, and the attributes that filters can name."""
