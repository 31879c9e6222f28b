"""The admin routes, and their replies."""
