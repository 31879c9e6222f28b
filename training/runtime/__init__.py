"""What every stage runs on: configuration, workspace, checkpoints, the training loop, processes."""
