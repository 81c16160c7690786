"""Calls an agent by the client of a2a-sdk 0.3: `sdk03_calls.py URL TRANSPORT` prints what came back as JSON.

It runs in an environment of its own, since both lines of a2a-sdk have the same name.
"""

import asyncio
import base64
import json
import sys
import uuid
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    Message,
    Part,
    PushNotificationConfig,
    Role,
    Task,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TextPart,
)


def a_message(prefix: str, **fields: Any) -> Message:
    """Return a message whose id tells the agent what to do."""
    part = Part(root=TextPart(text="hello"))
    return Message(message_id=f"{prefix}-{uuid.uuid4()}", role=Role.user, parts=[part], **fields)


async def last(client: Any, message: Message) -> Any:
    """Send a message and return the last that came back: a message, or a task."""
    events = [event async for event in client.send_message(message)]
    return events[-1][0] if isinstance(events[-1], tuple) else events[-1]


async def call(url: str, transport: str) -> dict[str, Any]:
    """Call every operation of version 0.3."""
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        for streaming in (False, True):
            config = ClientConfig(httpx_client=http, streaming=streaming, supported_transports=[transport])
            client = ClientFactory(config).create(card)
            done = await last(client, a_message("tck-artifact-file"))
            found[f"states {streaming}"] = done.status.state.value
            file = done.artifacts[0].parts[0].root.file
            found[f"file {streaming}"] = [file.name, base64.b64decode(file.bytes).decode()]
            reply = await last(client, a_message("tck-message-response"))
            found[f"reply {streaming}"] = reply.parts[0].root.text
        asked = await last(client, a_message("tck-input-required"))
        found["asked"] = asked.status.state.value
        found["got"] = (await client.get_task(TaskQueryParams(id=asked.id))).id == asked.id
        followed = await last(client, a_message("tck-complete-task", task_id=asked.id, context_id=asked.context_id))
        # What a stream gave is put together by the client, which moves messages about.
        kept = await client.get_task(TaskQueryParams(id=asked.id))
        found["followed"] = [followed.id == asked.id, kept.status.state.value, len(kept.history)]
        found.update(await push_and_cancel(client))
    return found


async def push_and_cancel(client: Any) -> dict[str, Any]:
    """Set a push configuration, then cancel the task."""
    asked: Task = await last(client, a_message("tck-input-required"))
    push = PushNotificationConfig(id="p", url="http://127.0.0.1:9/hook", token="t")
    made = await client.set_task_callback(TaskPushNotificationConfig(task_id=asked.id, push_notification_config=push))
    cancelled = await client.cancel_task(TaskIdParams(id=asked.id))
    return {"push": made.push_notification_config.url, "cancelled": cancelled.status.state.value}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(call(sys.argv[1], sys.argv[2]))))
