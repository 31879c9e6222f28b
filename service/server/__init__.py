"""HTTP/1.1 between the sockets and the app: connections, their limits, and an orderly end."""
