"""The server: tasks run by a flow, kept by a store, served over JSON-RPC and HTTP+JSON."""

try:
    import fastapi as _fastapi  # noqa: F401
except ImportError as _error:
    raise ImportError(
        'penguiflow_a2a.server needs FastAPI: pip install "penguiflow-a2a[server]"', name="fastapi"
    ) from _error
