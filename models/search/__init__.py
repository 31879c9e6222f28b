"""The search: finds the best eligible items for a history, on PyTorch or ONNX Runtime."""
