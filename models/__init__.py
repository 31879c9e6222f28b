"""Modules and arrays that training and serving share. Only `bundle.py` touches disk."""
