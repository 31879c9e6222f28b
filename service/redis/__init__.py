"""The access to Redis: the URL, the client with a circuit breaker, the lock, and the Lua scripts."""
