"""Reads a user's own tables: file formats, column names, times, and the types of attributes."""
