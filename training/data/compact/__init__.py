"""Holds tables of hundreds of millions of interactions in little memory."""
