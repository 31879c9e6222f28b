"""The runtime of all stages: configuration, workspace, checkpoints, the training loop and processes."""
