"""Mutated files over all readers: ``python -m tests.fuzz``, or ``make fuzz``."""
