"""Real servers for tests, examples and benchmarks: each on a free loopback port, with a folder of its own.

Imported as `from servers import PostgresServer` where `tools` is on the path; pytest puts it there.
"""

from servers._binaries import find_program
from servers._postgres import PostgresServer
from servers._redis import RedisServer, redis_programs

__all__ = ["PostgresServer", "RedisServer", "find_program", "redis_programs"]
