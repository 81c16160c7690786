"""Version 0.3 on the wire: objects of 1.0, as JSON, into what 0.3 writes, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.tasks import TaskState

__all__ = [
    "data_part_from",
    "data_part_to",
    "each",
    "event_from_v03",
    "event_to_v03",
    "file_from",
    "file_to",
    "invalid",
    "message_from_v03",
    "message_to_v03",
    "no_limit",
    "push_config_from_v03",
    "push_config_to_v03",
    "read_send_request",
    "require_object",
    "send_request_from_v03",
    "send_request_to_v03",
    "state_from_v03",
    "state_to_v03",
    "task_from_v03",
    "task_to_v03",
    "write_send_request",
]

Wire: TypeAlias = dict[str, Any]

_STATES = {
    state: "unknown" if state is TaskState.UNSPECIFIED else state.name.lower().replace("_", "-") for state in TaskState
}
_STATES_BACK = {text: state for state, text in _STATES.items()}
_ROLES = {"ROLE_USER": "user", "ROLE_AGENT": "agent"}
_ROLES_BACK = {text: role for role, text in _ROLES.items()}
# How a2a-sdk marks a 1.0 value that is no object, which 0.3 cannot hold, when it wraps it in one.
_WRAPPED = "data_part_compat"


def invalid(field: str, text: str) -> ProtocolError:
    """Return the error of a field that is not as the protocol wants it."""
    return ProtocolError(ErrorKind.INVALID_PARAMS, f"{field}: {text}", violations=[(field, text)])


def require_object(value: Any, field: str) -> Wire:
    """Return a JSON object as it is.

    Raises:
        ProtocolError: it is something else.
    """
    if not isinstance(value, dict):
        raise invalid(field, "expected an object")
    return value


def each(values: Any, field: str, convert: Callable[[Any, str], Any]) -> list[Any]:
    """Convert the elements of a list; null stands for an empty one.

    Raises:
        ProtocolError: it is no list, or an element cannot be converted.
    """
    if values is None:
        return []
    if not isinstance(values, list):
        raise invalid(field, "expected a list")
    return [convert(value, f"{field}[{index}]") for index, value in enumerate(values)]


def state_to_v03(state: str) -> str:
    """Return what 0.3 calls a state."""
    return _STATES.get(TaskState(state), "unknown")


def state_from_v03(state: Any) -> str:
    """Return the state that 0.3 calls so; unspecified where there is none of that name."""
    found = _STATES_BACK.get(state) if isinstance(state, str) else None
    return (found or TaskState.UNSPECIFIED).value


def _part_to(part: Wire) -> Wire:
    written: Wire
    if "text" in part:
        written = {"kind": "text", "text": part["text"]}
    elif "data" in part:
        return data_part_to(part)
    else:
        written = {"kind": "file", "file": file_to(part, "bytes", "uri")}
    if "metadata" in part:
        written["metadata"] = part["metadata"]
    return written


def file_to(part: Wire, raw: str, url: str) -> Wire:
    """Return the file of a part as 0.3 writes it, its content under one of the two names."""
    file: Wire = {raw: part["raw"]} if "raw" in part else {url: part.get("url", "")}
    for ours, theirs in (("mediaType", "mimeType"), ("filename", "name")):
        if ours in part:
            file[theirs] = part[ours]
    return file


def data_part_to(part: Wire) -> Wire:
    """Return a part of data as 0.3 writes it: a value that is no object is wrapped in one, and marked."""
    data, metadata = part["data"], part.get("metadata")
    if not isinstance(data, dict):
        data, metadata = {"value": data}, {**(metadata or {}), _WRAPPED: True}
    return {"kind": "data", "data": data, **({} if metadata is None else {"metadata": metadata})}


def _part_from(part: Any, field: str) -> Wire:
    part = require_object(part, field)
    kind = part.get("kind")
    if kind is None:
        kind = next((name for name in ("text", "file", "data") if name in part), None)
    if kind == "text":
        read: Wire = {"text": part.get("text")}
    elif kind == "file":
        read = file_from(part.get("file"), f"{field}.file", "bytes", "uri")
    elif kind == "data":
        return data_part_from(part, field)
    else:
        raise invalid(f"{field}.kind", f"unknown kind of part {kind!r:.80}; known are text, file and data")
    if not isinstance(read.get("text", read.get("raw", read.get("url"))), str):
        raise invalid(field, f"a {kind} part needs its content as a string")
    if part.get("metadata") is not None:
        read["metadata"] = part["metadata"]
    return read


def file_from(file: Any, field: str, raw: str, url: str) -> Wire:
    """Return the file of a part of 0.3, its content under one of the two names, as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    file = require_object(file, field)
    content, place = file.get(raw), file.get(url)
    if (content is None) == (place is None):
        raise invalid(field, f"a file has either {raw} or {url}")
    read: Wire = {"url": place} if content is None else {"raw": content}
    for theirs, ours in (("mimeType", "mediaType"), ("name", "filename")):
        if file.get(theirs) is not None:
            read[ours] = file[theirs]
    return read


def data_part_from(part: Wire, field: str) -> Wire:
    """Return a part of data of 0.3 as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    data = require_object(part.get("data"), f"{field}.data")
    metadata = part.get("metadata")
    if isinstance(metadata, dict) and metadata.get(_WRAPPED) and "value" in data:
        metadata = {key: value for key, value in metadata.items() if key != _WRAPPED} or None
        data = data["value"]
    return {"data": data, **({} if metadata is None else {"metadata": metadata})}


def message_to_v03(message: Wire) -> Wire:
    """Return a message as 0.3 writes it."""
    return {
        **message,
        "kind": "message",
        "role": _ROLES.get(message.get("role", ""), "agent"),
        "parts": [_part_to(part) for part in message.get("parts", ())],
    }


def message_from_v03(message: Any, field: str = "message") -> Wire:
    """Return a message of 0.3 as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    message = require_object(message, field)
    if message.get("kind", "message") != "message":
        raise invalid(f"{field}.kind", "expected 'message'")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES_BACK:
        raise invalid(f"{field}.role", "expected 'user' or 'agent'")
    parts = each(message.get("parts"), f"{field}.parts", _part_from)
    read = {**message, "role": _ROLES_BACK[role], "parts": parts}
    read.pop("kind", None)
    return read


def _artifact_to(artifact: Wire) -> Wire:
    return {**artifact, "parts": [_part_to(part) for part in artifact.get("parts", ())]}


def _artifact_from(artifact: Any, field: str) -> Wire:
    artifact = require_object(artifact, field)
    return {**artifact, "parts": each(artifact.get("parts"), f"{field}.parts", _part_from)}


def _status_to(status: Wire) -> Wire:
    written = {**status, "state": state_to_v03(status.get("state", TaskState.UNSPECIFIED))}
    if "message" in status:
        written["message"] = message_to_v03(status["message"])
    return written


def _status_from(status: Any, field: str) -> Wire:
    status = require_object(status, field)
    read = {**status, "state": state_from_v03(status.get("state"))}
    if status.get("message") is not None:
        read["message"] = message_from_v03(status["message"], f"{field}.message")
    return read


def task_to_v03(task: Wire) -> Wire:
    """Return a task as 0.3 writes it."""
    written = {"contextId": "", **task, "kind": "task", "status": _status_to(task["status"])}
    if "artifacts" in task:
        written["artifacts"] = [_artifact_to(artifact) for artifact in task["artifacts"]]
    if "history" in task:
        written["history"] = [message_to_v03(message) for message in task["history"]]
    return written


def task_from_v03(task: Any, field: str = "task") -> Wire:
    """Return a task of 0.3 as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    task = require_object(task, field)
    read = {**task, "status": _status_from(task.get("status"), f"{field}.status")}
    read.pop("kind", None)
    read["artifacts"] = each(task.get("artifacts"), f"{field}.artifacts", _artifact_from)
    read["history"] = each(task.get("history"), f"{field}.history", message_from_v03)
    return read


def event_to_v03(event: Wire) -> Wire:
    """Return the content of a 1.0 answer, `{"task": …}` and the like, as the `result` that 0.3 gives."""
    ((member, content),) = event.items()
    if member == "task":
        return task_to_v03(content)
    if member == "message":
        return message_to_v03(content)
    if member == "statusUpdate":
        final = TaskState(content["status"].get("state", TaskState.UNSPECIFIED)).is_settled
        return {**content, "kind": "status-update", "status": _status_to(content["status"]), "final": final}
    return {**content, "kind": "artifact-update", "artifact": _artifact_to(content["artifact"])}


def event_from_v03(result: Any) -> Wire:
    """Return a `result` of 0.3 as the answer that 1.0 gives: `{"task": …}` and the like.

    Raises:
        ProtocolError: it is none that 0.3 knows.
    """
    result = require_object(result, "result")
    kind = result.get("kind")
    if kind == "task":
        return {"task": task_from_v03(result, "result")}
    if kind == "message":
        return {"message": message_from_v03(result, "result")}
    content = {key: value for key, value in result.items() if key not in ("kind", "final")}
    if kind == "status-update":
        return {"statusUpdate": {**content, "status": _status_from(result.get("status"), "result.status")}}
    if kind == "artifact-update":
        return {"artifactUpdate": {**content, "artifact": _artifact_from(result.get("artifact"), "result.artifact")}}
    raise invalid("result.kind", f"unknown kind of result {kind!r:.80}")


def push_config_to_v03(config: Wire) -> Wire:
    """Return a push configuration as 0.3 writes it: its task beside it."""
    inner: Wire = {key: config[key] for key in ("id", "url", "token") if key in config}
    if "authentication" in config:
        authentication = config["authentication"]
        inner["authentication"] = {"schemes": [authentication["scheme"]]}
        if "credentials" in authentication:
            inner["authentication"]["credentials"] = authentication["credentials"]
    return {"taskId": config.get("taskId", ""), "pushNotificationConfig": inner}


def push_config_from_v03(params: Any, field: str = "params") -> Wire:
    """Return `{taskId, pushNotificationConfig}` of 0.3 as 1.0 writes it.

    Raises:
        ProtocolError: it is none.
    """
    params = require_object(params, field)
    inner = _push_config_inner(params.get("pushNotificationConfig"), f"{field}.pushNotificationConfig")
    return {**inner, "taskId": params.get("taskId")}


def _push_config_inner(config: Any, field: str) -> Wire:
    config = require_object(config, field)
    read = {key: config[key] for key in ("id", "url", "token") if config.get(key) is not None}
    if config.get("authentication") is not None:
        authentication = require_object(config["authentication"], f"{field}.authentication")
        schemes = each(authentication.get("schemes"), f"{field}.authentication.schemes", lambda scheme, _: scheme)
        read["authentication"] = {"scheme": schemes[0] if schemes else "Bearer"}
        if authentication.get("credentials") is not None:
            read["authentication"]["credentials"] = authentication["credentials"]
    return read


def send_request_from_v03(params: Any) -> Wire:
    """Return the parameters of `message/send` as 1.0 writes them.

    Raises:
        ProtocolError: they are not as 0.3 wants them.
    """
    return read_send_request(params, message_from_v03, ("pushNotificationConfig",))


def read_send_request(params: Any, message_from: Callable[[Any], Wire], push_names: tuple[str, ...]) -> Wire:
    """Return a request of 0.3 to send a message as 1.0 writes it.

    A push configuration stands under one of `push_names`.

    Raises:
        ProtocolError: it is none.
    """
    params = require_object(params, "params")
    read: Wire = {"message": message_from(params.get("message"))}
    if params.get("metadata") is not None:
        read["metadata"] = params["metadata"]
    if params.get("configuration") is not None:
        configuration = require_object(params["configuration"], "configuration")
        read["configuration"] = _configuration_from(configuration, push_names)
    return read


def _configuration_from(configuration: Wire, push_names: tuple[str, ...]) -> Wire:
    read: Wire = {key: configuration[key] for key in ("acceptedOutputModes", "historyLength") if key in configuration}
    if no_limit(read.get("historyLength")):
        read.pop("historyLength", None)
    # A call without the field blocks.
    if configuration.get("blocking") is not None:
        if not isinstance(configuration["blocking"], bool):
            raise invalid("configuration.blocking", "expected true or false")
        read["returnImmediately"] = not configuration["blocking"]
    for name in push_names:
        if configuration.get(name) is not None:
            read["taskPushNotificationConfig"] = _push_config_inner(configuration[name], f"configuration.{name}")
    return read


def no_limit(history_length: Any) -> bool:
    """Whether a length of the history is one that sets no limit: in 0.3, zero is one too."""
    return history_length is None or (history_length in (0, "0") and history_length is not False)


def send_request_to_v03(request: Wire) -> Wire:
    """Return what 1.0 sends as the parameters of `message/send`."""
    return write_send_request(request, message_to_v03, "pushNotificationConfig")


def write_send_request(request: Wire, message_to: Callable[[Wire], Wire], push_name: str) -> Wire:
    """Return a request to send a message as 0.3 writes it, a push configuration under `push_name`."""
    written: Wire = {"message": message_to(request["message"])}
    if "metadata" in request:
        written["metadata"] = request["metadata"]
    configuration = request.get("configuration")
    if configuration is not None:
        kept = {key: configuration[key] for key in ("acceptedOutputModes", "historyLength") if key in configuration}
        kept["blocking"] = not configuration.get("returnImmediately", False)
        if "taskPushNotificationConfig" in configuration:
            push = push_config_to_v03(configuration["taskPushNotificationConfig"])
            kept[push_name] = push["pushNotificationConfig"]
        written["configuration"] = kept
    return written
