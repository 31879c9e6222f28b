"""Admission: limits the requests in the service at the same time, and keeps the context of each request."""
