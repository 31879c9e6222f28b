"""Answers recommendation requests: the search with one model, and the reply in the words of the HTTP contract."""
