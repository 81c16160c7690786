"""A store by its URL, as command lines name it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from penguiflow import FlowDefinitionError
from penguiflow_state._store import DatabaseStore
from penguiflow_state.sqlite import SqliteStateStore

__all__ = ["open_url"]


def open_url(url: str) -> DatabaseStore:
    """Return the store that a URL names; it connects when it is first used.

    `sqlite:///traces.db` is a path relative to the working directory, `sqlite:////var/traces.db` an absolute one;
    `postgresql://...` is what libpq takes.

    Raises:
        FlowDefinitionError: it names no store.
        ImportError: it names one whose extra is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return SqliteStateStore(unquote(parts.path[1:]))
    if parts.scheme in ("postgres", "postgresql"):
        from penguiflow_state.postgres import PostgresStateStore

        return PostgresStateStore(url)
    raise FlowDefinitionError(f"{url!r} names no store: pass sqlite:///traces.db, or postgresql://user@host/database")
