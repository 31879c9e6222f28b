"""The HTTP/1.1 server: connections, their limits, and graceful shutdown."""
