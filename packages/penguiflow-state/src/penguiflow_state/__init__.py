"""The history and outcomes of flows on SQLite, and on Postgres by an extra."""

__all__: list[str] = []
