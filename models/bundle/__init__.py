"""The bundle: a folder with one trained model and its catalogue, which training writes and the service reads."""
