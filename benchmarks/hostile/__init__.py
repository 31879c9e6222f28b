"""Clients that mean harm, or mistake the service for something else: malformed bodies and misused connections."""
