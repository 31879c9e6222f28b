"""Readers of a shop's own tables: formats of files, names of columns, times and the types of attributes."""
