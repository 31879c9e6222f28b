"""The search: the best eligible items for a history, by PyTorch or ONNX Runtime."""
