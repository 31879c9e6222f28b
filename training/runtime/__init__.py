"""What all stages need to run: configuration, workspace, checkpoints, the training loop and processes."""
