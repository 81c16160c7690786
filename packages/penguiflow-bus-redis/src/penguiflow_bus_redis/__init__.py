"""The message bus of flows on Redis Streams."""

__all__: list[str] = []
