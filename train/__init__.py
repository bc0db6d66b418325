"""Training and evaluation of OCTCube models: ``python -m train COMMAND``."""
