"""Benchmarks of the message bus on Redis."""
