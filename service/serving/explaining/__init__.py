"""Puts the explanation of a list of recommendations into the words of the HTTP contract."""
