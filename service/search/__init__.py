"""The queue before the search, and the batches that it becomes."""
