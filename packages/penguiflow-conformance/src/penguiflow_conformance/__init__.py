"""Contract suites for the stores, buses and transports of flows."""

__all__: list[str] = []
