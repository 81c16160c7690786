"""Uses a store in a fork of its process: `fork.py PATH`. The child prints how that ends."""

import asyncio
import os
import sys
import warnings

from penguiflow_state import SqliteStateStore, StoreClosed

STORE = SqliteStateStore(sys.argv[1])


async def save() -> None:
    await STORE.save_event("t", 1.0, "emit", {})


asyncio.run(save())
warnings.simplefilter("ignore")
if os.fork() == 0:
    try:
        asyncio.run(save())
    except StoreClosed as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
