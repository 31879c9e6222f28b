"""What the service knows of users: it stores their events, and reads their histories for recommendations."""
