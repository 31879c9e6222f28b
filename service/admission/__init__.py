"""Admission: limits how many requests are in the service at the same time, and holds the state of each of them."""
