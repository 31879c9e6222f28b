"""Admission: limits what is in the service at one time, and owns each request from its headers to its answer."""
