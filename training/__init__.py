"""Offline stages, each a module that reads the files of the one before and writes its own."""
