"""Saves events and leaves without closing the store: `leave.py PATH`."""

import asyncio
import sys

from penguiflow_state import SqliteStateStore

STORE = SqliteStateStore(sys.argv[1])


async def main() -> None:
    for number in range(10):
        await STORE.save_event("t", float(number), "emit", {})


asyncio.run(main())
