"""Plays a data set's real events in time against the running service: does it learn from them?"""
