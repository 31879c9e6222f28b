"""What training learns for candidates that a user's history points at: the table of transitions, and the bonus."""
