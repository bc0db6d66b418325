"""One LightningModule per training task."""
