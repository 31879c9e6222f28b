"""A long load, under which neither the memory of the service nor its event store may grow without end."""
