"""A store in a Postgres database.

It needs the extra `postgres`: `pip install "penguiflow-state[postgres]"`.
"""

from penguiflow_state._postgres.store import PostgresStateStore

__all__ = ["PostgresStateStore"]

PostgresStateStore.__module__ = __name__
