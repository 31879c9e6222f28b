"""The content of a bundle: what the stages learnt, and the files that are written from it."""
