"""How interactions are divided into training, validation and test."""
