"""The search: finds the best items for a user's history that pass a filter, on PyTorch or ONNX Runtime."""
