"""The online service: answers HTTP requests with recommendations."""
