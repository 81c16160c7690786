"""The store on Postgres; whoever imports anything of it without its extra is told what to install."""

try:
    import psycopg as _psycopg
except ImportError as error:
    raise ImportError(
        'PostgresStateStore needs psycopg: pip install "penguiflow-state[postgres]"', name=error.name
    ) from error

del _psycopg
