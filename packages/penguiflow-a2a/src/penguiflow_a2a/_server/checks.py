"""What a message has to be before a flow sees it."""

from __future__ import annotations

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.tasks import Message, Role
from penguiflow_a2a._server.limits import ServerLimits

__all__ = ["check_id", "check_message", "check_modes", "is_accepted"]


def check_id(value: str, field: str, limits: ServerLimits) -> None:
    """Refuse an id that is too long or holds characters that no id needs.

    Raises:
        ProtocolError: it does.
    """
    if len(value) > limits.max_id_chars:
        raise _invalid(field, f"an id has at most {limits.max_id_chars} characters, not {len(value)}")
    if not value.isprintable():
        raise _invalid(field, "an id holds printable characters only")


def check_message(message: Message, limits: ServerLimits) -> None:
    """Refuse a message without an id, a role or a part, or with too many or too long ones.

    Raises:
        ProtocolError: it is one.
    """
    if not message.message_id:
        raise _invalid("message.messageId", "must not be empty")
    if message.role is Role.UNSPECIFIED:
        raise _invalid("message.role", "must be ROLE_USER or ROLE_AGENT")
    if not message.parts:
        raise _invalid("message.parts", "at least one part is required")
    if len(message.parts) > limits.max_parts:
        raise _invalid("message.parts", f"at most {limits.max_parts} parts are taken, not {len(message.parts)}")
    check_id(message.message_id, "message.messageId", limits)
    if message.context_id:
        check_id(message.context_id, "message.contextId", limits)
    if message.task_id:
        check_id(message.task_id, "message.taskId", limits)
    if len(message.reference_task_ids) > limits.max_parts or len(message.extensions) > limits.max_parts:
        raise _invalid("message", f"at most {limits.max_parts} references and extensions are taken")
    for reference in message.reference_task_ids:
        check_id(reference, "message.referenceTaskIds", limits)


def check_modes(message: Message, accepted: frozenset[str]) -> None:
    """Refuse a part whose media type the agent does not take; one that says none is taken.

    Raises:
        ProtocolError: `CONTENT_TYPE_NOT_SUPPORTED`.
    """
    for part in message.parts:
        if part.media_type and accepted and not is_accepted(part.media_type, accepted):
            text = f"The agent does not take {part.media_type[:100]}; it takes {', '.join(sorted(accepted))}"
            raise ProtocolError(ErrorKind.CONTENT_TYPE_NOT_SUPPORTED, text)


def is_accepted(media_type: str, accepted: frozenset[str]) -> bool:
    """Whether a media type is among those accepted, of which some may be ranges such as `image/*`."""
    plain = media_type.partition(";")[0].strip().lower()
    return plain in accepted or "*/*" in accepted or f"{plain.partition('/')[0]}/*" in accepted


def _invalid(field: str, text: str) -> ProtocolError:
    return ProtocolError(ErrorKind.INVALID_PARAMS, f"{field}: {text}", violations=[(field, text)])
