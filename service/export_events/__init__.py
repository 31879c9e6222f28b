"""The command that moves users' events from the event store to files, from which training reads them."""
