"""What interactions say: ratings and event types, their checks, and what they mean in training."""
