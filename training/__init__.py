"""Offline training. Each stage reads the results of earlier stages and writes a result of its own."""
