"""New items as candidates beside those that the search finds."""
