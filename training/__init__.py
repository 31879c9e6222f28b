"""Offline training in stages. Each stage reads the stored results of earlier stages and stores its own result."""
