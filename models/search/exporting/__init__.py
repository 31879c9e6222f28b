"""The export of the search as an ONNX graph, and the weights in it."""
