"""Modules and arrays that training and serving share: a folder a subject. Only the bundle touches disk."""
