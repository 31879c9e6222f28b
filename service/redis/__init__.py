"""Redis: its URL, the client behind a circuit breaker, the lock and the Lua scripts."""
