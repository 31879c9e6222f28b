"""The online service: HTTP in, recommendations out."""
