"""The command pf: look into flows, and run them."""

__all__: list[str] = []
