"""Redis: the connection and what runs inside it."""
