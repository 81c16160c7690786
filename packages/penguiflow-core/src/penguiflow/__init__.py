"""Typed, asynchronous agent flows."""
