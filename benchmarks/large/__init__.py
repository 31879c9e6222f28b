"""What large catalogues and large data take: the search, the service, and the way from files to batches."""
