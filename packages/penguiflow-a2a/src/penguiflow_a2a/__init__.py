"""Flows that call A2A agents, and flows that are A2A agents."""

__all__: list[str] = []
