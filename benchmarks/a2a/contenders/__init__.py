"""The servers that are measured, each an ASGI application for a process of its own."""
