"""The event store: what users did, what they were shown, and the history of each user."""
