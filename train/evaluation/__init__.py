"""Metrics and the benchmark on synthetic eyes."""
