"""The command pf: look into flows, and run them."""

from penguiflow_cli.main import app, main

__all__ = ["app", "main"]
