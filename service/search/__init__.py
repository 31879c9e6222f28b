"""The search scheduler: a fair queue, and threads that search batches of requests."""
