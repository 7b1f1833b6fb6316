"""Measurements of anyback_nn and of other libraries: ``python -m benchmarks``."""
