"""Version 0.3 over HTTP+JSON as most of its servers and clients write it: the JSON form of 0.3's protobuf messages.

The specification of 0.3 shows the objects of JSON-RPC here, a2a-sdk and its kin write this. Functions convert from what
1.0 writes, and back.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from penguiflow_a2a._protocol.tasks import TaskState
from penguiflow_a2a._protocol.v03 import (
    Wire,
    data_part_from,
    data_part_to,
    each,
    file_from,
    file_to,
    invalid,
    push_config_from_v03,
    push_config_to_v03,
    read_send_request,
    require_object,
    write_send_request,
)

__all__ = [
    "event_from_v03_rest",
    "event_to_v03_rest",
    "is_v03_rest_message",
    "message_from_v03_rest",
    "message_to_v03_rest",
    "push_config_from_v03_rest",
    "push_config_to_v03_rest",
    "send_request_from_v03_rest",
    "send_request_to_v03_rest",
    "task_from_v03_rest",
    "task_to_v03_rest",
]

# The protobuf of 0.3 spells this state with two Ls.
_CANCELED = "TASK_STATE_CANCELLED"


def is_v03_rest_message(message: Any) -> bool:
    """Whether a message is written this way, and not as in JSON-RPC."""
    return isinstance(message, dict) and ("content" in message or str(message.get("role", "")).startswith("ROLE_"))


def _part_to(part: Wire) -> Wire:
    if "text" in part:
        written: Wire = {"text": part["text"]}
    elif "data" in part:
        return _data_part_to(part)
    else:
        written = {"file": file_to(part, "fileWithBytes", "fileWithUri")}
        if "raw" in part:
            # Its bytes are the text that JSON-RPC has, which is base64 already.
            written["file"]["fileWithBytes"] = b64encode(part["raw"].encode()).decode()
    if "metadata" in part:
        written["metadata"] = part["metadata"]
    return written


def _part_from(part: Any, field: str) -> Wire:
    part = require_object(part, field)
    if "text" in part:
        read: Wire = {"text": part["text"]}
    elif "file" in part:
        read = file_from(part["file"], f"{field}.file", "fileWithBytes", "fileWithUri")
        if "raw" in read:
            read["raw"] = _raw_from(read["raw"])
    elif "data" in part:
        return data_part_from({**part, "data": require_object(part["data"], f"{field}.data").get("data", {})}, field)
    else:
        raise invalid(field, "unknown kind of part; known are text, file and data")
    if part.get("metadata") is not None:
        read["metadata"] = part["metadata"]
    return read


def _data_part_to(part: Wire) -> Wire:
    written = data_part_to(part)
    return {"data": {"data": written["data"]}, **({"metadata": written["metadata"]} if "metadata" in written else {})}


def _raw_from(encoded: Any) -> Any:
    """Return the bytes of a file in base64; what was encoded once, as the specification has it, is taken as well."""
    if not isinstance(encoded, str):
        return encoded
    try:
        inner = b64decode(encoded, validate=True).decode("ascii")
        b64decode(inner, validate=True)
    except ValueError:
        return encoded
    return inner


def message_to_v03_rest(message: Wire) -> Wire:
    """Return a message as 0.3 writes it over HTTP+JSON."""
    written = {key: value for key, value in message.items() if key not in ("parts", "referenceTaskIds")}
    written["content"] = [_part_to(part) for part in message.get("parts", ())]
    return written


def message_from_v03_rest(message: Any, field: str = "message") -> Wire:
    """Return a message of 0.3 as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    message = require_object(message, field)
    read = {key: value for key, value in message.items() if key != "content"}
    read["parts"] = each(message.get("content"), f"{field}.content", _part_from)
    for key in ("contextId", "taskId"):
        if read.get(key) == "":
            del read[key]
    return read


def _artifact_to(artifact: Wire) -> Wire:
    return {**artifact, "parts": [_part_to(part) for part in artifact.get("parts", ())]}


def _artifact_from(artifact: Any, field: str) -> Wire:
    artifact = require_object(artifact, field)
    return {**artifact, "parts": each(artifact.get("parts"), f"{field}.parts", _part_from)}


def _status_to(status: Wire) -> Wire:
    written = dict(status)
    if status.get("state") == TaskState.CANCELED:
        written["state"] = _CANCELED
    if "message" in status:
        written["message"] = message_to_v03_rest(status["message"])
    return written


def _status_from(status: Any, field: str) -> Wire:
    status = require_object(status, field)
    read = dict(status)
    message = read.pop("update", None) or read.get("message")
    if read.get("state") == _CANCELED:
        read["state"] = TaskState.CANCELED.value
    if message is not None:
        read["message"] = message_from_v03_rest(message, f"{field}.message")
    return read


def task_to_v03_rest(task: Wire) -> Wire:
    """Return a task as 0.3 writes it over HTTP+JSON."""
    written = {**task, "status": _status_to(task["status"])}
    if "artifacts" in task:
        written["artifacts"] = [_artifact_to(artifact) for artifact in task["artifacts"]]
    if "history" in task:
        written["history"] = [message_to_v03_rest(message) for message in task["history"]]
    return written


def task_from_v03_rest(task: Any, field: str = "task") -> Wire:
    """Return a task of 0.3 as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    task = require_object(task, field)
    return {
        **task,
        "status": _status_from(task.get("status"), f"{field}.status"),
        "artifacts": each(task.get("artifacts"), f"{field}.artifacts", _artifact_from),
        "history": each(task.get("history"), f"{field}.history", message_from_v03_rest),
    }


def event_to_v03_rest(event: Wire) -> Wire:
    """Return a 1.0 answer, `{"task": …}` and the like, as 0.3 writes it over HTTP+JSON."""
    ((member, content),) = event.items()
    if member == "task":
        return {"task": task_to_v03_rest(content)}
    if member == "message":
        return {"message": message_to_v03_rest(content)}
    if member == "statusUpdate":
        written = {**content, "status": _status_to(content["status"])}
        if TaskState(content["status"].get("state", TaskState.UNSPECIFIED)).is_settled:
            written["final"] = True
        return {"statusUpdate": written}
    return {"artifactUpdate": {**content, "artifact": _artifact_to(content["artifact"])}}


def event_from_v03_rest(event: Any) -> Wire:
    """Return an answer of 0.3 as 1.0 gives it.

    Raises:
        ProtocolError: it is none that 0.3 knows.
    """
    event = require_object(event, "response")
    for member, convert in (("task", task_from_v03_rest), ("message", message_from_v03_rest)):
        if member in event:
            return {member: convert(event[member], member)}
    if "statusUpdate" in event:
        content = dict(require_object(event["statusUpdate"], "statusUpdate"))
        content.pop("final", None)
        return {"statusUpdate": {**content, "status": _status_from(content.get("status"), "statusUpdate.status")}}
    if "artifactUpdate" in event:
        content = require_object(event["artifactUpdate"], "artifactUpdate")
        return {"artifactUpdate": {**content, "artifact": _artifact_from(content.get("artifact"), "artifact")}}
    raise invalid("response", "expected a task, a message, a statusUpdate or an artifactUpdate")


def push_config_to_v03_rest(config: Wire) -> Wire:
    """Return a push configuration as 0.3 writes it over HTTP+JSON: by its resource name."""
    inner = push_config_to_v03(config)["pushNotificationConfig"]
    name = f"tasks/{config.get('taskId', '')}/pushNotificationConfigs/{config.get('id', '')}"
    return {"name": name, "pushNotificationConfig": inner}


def push_config_from_v03_rest(body: Any, task_id: str) -> Wire:
    """Return a push configuration of 0.3, bare or as a request to create one, as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    body = require_object(body, "body")
    config = require_object(body.get("config", body), "config")
    read = push_config_from_v03({"pushNotificationConfig": config.get("pushNotificationConfig", config)}, "config")
    if not read.get("id"):
        named = str(body.get("configId") or "") or str(config.get("name", "")).rpartition("/")[2]
        read["id"] = named
    return {**read, "taskId": task_id}


def send_request_to_v03_rest(request: Wire) -> Wire:
    """Return what 1.0 sends as 0.3 posts it to `/v1/message:send`."""
    return write_send_request(request, message_to_v03_rest, "pushNotification")


def send_request_from_v03_rest(body: Any) -> Wire:
    """Return what was posted to `/v1/message:send` as 1.0 writes it.

    Raises:
        ProtocolError: it is not as 0.3 wants it.
    """
    return read_send_request(body, message_from_v03_rest, ("pushNotification", "pushNotificationConfig"))
