"""Many faults at once in a running service, whose every answer is checked."""
