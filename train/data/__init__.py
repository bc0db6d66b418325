"""Stores of volumes, their manifests, and what feeds them to a model."""
