"""The server: tasks run by a flow, kept by a store, served over JSON-RPC and HTTP+JSON."""
