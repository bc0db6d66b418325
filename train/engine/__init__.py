"""What every training stage shares: its command line, optimiser, randomness, checkpoints and processes."""
