"""Training, checkpoints and prediction on whole images."""
