"""Arrays of a large catalogue in files that are mapped into memory."""
