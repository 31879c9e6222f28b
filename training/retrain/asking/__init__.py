"""Asks models about new interactions: what did the user choose next? The answers judge a model, or fit its bonus."""
