"""The parts of fine-tuning: losses, metrics, starts, LoRA, folds."""
