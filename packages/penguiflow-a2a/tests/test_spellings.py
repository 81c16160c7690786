"""What the two versions of the protocol call the same things."""

from typing import Any

import pytest

from penguiflow_a2a._protocol.card_wire import card_from_wire, card_to_dual, card_to_v03, card_to_v1
from penguiflow_a2a._protocol.codecs import V03, V03_REST, V1, Codec
from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError, error_of_code, error_of_reason
from penguiflow_a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    APIKeySecurityScheme,
    Artifact,
    Message,
    Part,
    Role,
    SecurityRequirement,
    SecurityScheme,
    SendMessageConfiguration,
    SendMessageRequest,
    StringList,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
    timestamp,
)

CODECS = pytest.mark.parametrize("codec", [V1, V03, V03_REST], ids=["1.0", "0.3", "0.3 over HTTP"])
PARTS = [
    Part(text="hello", metadata={"a": 1}),
    Part(text=""),
    Part.of_bytes(b"\x00\xff", filename="f.bin", media_type="application/octet-stream"),
    Part(url="https://example.com/f", media_type="image/png"),
    Part(data={"k": [1, None]}),
]
MESSAGE = Message(message_id="m", context_id="c", task_id="t", role=Role.USER, parts=PARTS, extensions=["urn:x"])
TASK = Task(
    id="t",
    context_id="c",
    status=TaskStatus(state=TaskState.CANCELED, message=MESSAGE, timestamp="2026-01-02T03:04:05.000Z"),
    artifacts=[Artifact(artifact_id="a", name="n", parts=PARTS)],
    history=[MESSAGE],
    metadata={"m": {"n": 1}},
)
EVENTS: list[Task | Message | TaskStatusUpdateEvent | TaskArtifactUpdateEvent] = [
    TASK,
    MESSAGE,
    TaskStatusUpdateEvent(task_id="t", context_id="c", status=TaskStatus(state=TaskState.INPUT_REQUIRED)),
    TaskArtifactUpdateEvent(
        task_id="t", context_id="c", artifact=Artifact(artifact_id="a", parts=PARTS), append=True, last_chunk=True
    ),
]
CARD = AgentCard(
    name="agent",
    supported_interfaces=[
        AgentInterface(url="https://a.example/", protocol_binding="JSONRPC", protocol_version="1.0"),
        AgentInterface(url="https://a.example/v3", protocol_binding="HTTP+JSON", protocol_version="0.3"),
    ],
    version="1",
    capabilities=AgentCapabilities(streaming=True, extended_agent_card=True),
    security_schemes={"key": SecurityScheme(api_key_security_scheme=APIKeySecurityScheme(location="header", name="k"))},
    security_requirements=[SecurityRequirement(schemes={"key": StringList(list=["read"])})],
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[AgentSkill(id="s", name="S", description="does", tags=["t"])],
)


@CODECS
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_read_as_it_was_written(codec: Codec, event: Any) -> None:
    assert codec.decode_event(codec.encode_event(event)) == event


@CODECS
def test_a_request_is_read_as_it_was_written(codec: Codec) -> None:
    push = TaskPushNotificationConfig(id="p", url="https://h.example/", token="x")
    configuration = SendMessageConfiguration(
        accepted_output_modes=["text/plain"],
        history_length=3,
        return_immediately=True,
        task_push_notification_config=push,
    )
    request = SendMessageRequest(message=MESSAGE, configuration=configuration, metadata={"a": 1})

    assert codec.decode_send(codec.encode_send(request)) == request


@CODECS
def test_a_push_configuration_is_read_as_it_was_written(codec: Codec) -> None:
    config = TaskPushNotificationConfig.model_validate(
        {"id": "p", "taskId": "t", "url": "https://h", "authentication": {"scheme": "Bearer", "credentials": "c"}}
    )

    assert codec.decode_push(codec.encode_push(config)) == config


def test_version_0_3_has_kinds_lower_case_states_and_final() -> None:
    written = V03.encode_event(EVENTS[2])

    assert (written["kind"], written["status"]["state"], written["final"]) == ("status-update", "input-required", True)
    assert V03.encode_event(TASK)["history"][0]["role"] == "user"
    assert V03.encode_event(TASK)["history"][0]["parts"][0]["kind"] == "text"


def test_version_1_0_has_wrapper_members_and_no_kinds() -> None:
    written = V1.encode_event(TASK)

    assert list(written) == ["task"]
    assert written["task"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert "kind" not in written["task"]["history"][0]["parts"][0]


def test_json_that_0_3_cannot_hold_is_wrapped_and_unwrapped() -> None:
    message = Message(message_id="m", role=Role.AGENT, parts=[Part(data=[1, 2])])

    written = V03.encode_event(message)

    assert written["parts"][0]["data"] == {"value": [1, 2]}
    assert V03.decode_event(written) == message


def test_null_is_content_where_data_says_so() -> None:
    assert Part.model_validate({"data": None}).to_wire() == {"data": None}


@pytest.mark.parametrize(
    "part", [{}, {"kind": "video"}, {"text": None, "url": None}, {"raw": "?"}, {"text": 1}, {"kind": "text"}, None, 3]
)
@pytest.mark.parametrize("codec", [V1, V03], ids=["1.0", "0.3"])
def test_a_part_that_is_none_is_refused(codec: Codec, part: Any) -> None:
    role = "user" if codec is V03 else "ROLE_USER"

    with pytest.raises(ProtocolError) as raised:
        codec.decode_send({"message": {"messageId": "m", "role": role, "parts": [part]}})

    assert raised.value.kind is ErrorKind.INVALID_PARAMS
    assert raised.value.violations


@CODECS
@pytest.mark.parametrize("wire", [None, [], "x", 1, {}, {"message": None}, {"message": {"parts": {}}}])
def test_a_request_that_is_none_is_refused(codec: Codec, wire: Any) -> None:
    with pytest.raises(ProtocolError) as raised:
        codec.decode_send(wire)

    assert raised.value.kind is ErrorKind.INVALID_PARAMS


@pytest.mark.parametrize("codec", [V03, V03_REST], ids=["0.3", "0.3 over HTTP"])
@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("message", {"role": []}),
        ("message", {"role": {}}),
        ("message", {"role": 1}),
        ("message", {"role": None}),
        ("configuration", {"historyLength": False}),
        ("configuration", {"historyLength": []}),
        ("configuration", {"historyLength": -1}),
        ("configuration", {"blocking": 1}),
        ("configuration", {"blocking": "yes"}),
        ("configuration", {"acceptedOutputModes": ""}),
    ],
)
def test_a_request_of_0_3_with_a_value_of_the_wrong_type_is_refused(codec: Codec, where: str, wrong: Any) -> None:
    wire = codec.encode_send(SendMessageRequest(message=MESSAGE, configuration=SendMessageConfiguration()))
    wire[where].update(wrong)

    with pytest.raises(ProtocolError) as raised:
        codec.decode_send(wire)

    assert raised.value.kind is ErrorKind.INVALID_PARAMS


def test_a_state_of_0_3_that_is_none_is_unspecified() -> None:
    status = V03.decode_task({"id": "t", "status": {"state": ["completed"]}}).status

    assert status.state is TaskState.UNSPECIFIED


@pytest.mark.parametrize("file", [{"bytes": "YQ==", "uri": None}, {"bytes": None, "uri": "https://a"}])
def test_null_is_no_content_of_a_file_of_0_3(file: Any) -> None:
    part = {"kind": "file", "file": file}
    event = {"kind": "message", "messageId": "m", "role": "user", "parts": [part]}

    read = V03.decode_event(event)

    assert isinstance(read, Message)
    assert read.parts[0].content == ("raw" if file["bytes"] else "url")


@CODECS
def test_metadata_that_is_empty_stays(codec: Codec) -> None:
    message = Message(message_id="m", role=Role.USER, parts=[Part(data={}, metadata={}), Part(text="", metadata={})])

    assert codec.decode_event(codec.encode_event(message)) == message


def test_a_call_of_0_3_blocks_unless_it_says_otherwise() -> None:
    message = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "x"}]}
    told = [{}, {"blocking": None}, {"blocking": True}, {"blocking": False, "historyLength": 0}]

    read = [V03.decode_send({"message": message, "configuration": each}).configuration for each in told]

    assert [each and (each.return_immediately, each.history_length) for each in read] == [
        (False, None),
        (False, None),
        (False, None),
        (True, None),
    ]


def test_a_card_of_either_version_is_read_back() -> None:
    assert card_from_wire(card_to_v1(CARD)) == CARD
    assert card_from_wire(card_to_dual(CARD)) == CARD
    older = card_from_wire(card_to_v03(CARD))
    assert [each.protocol_version for each in older.supported_interfaces] == ["0.3"]
    assert older.model_copy(update={"supported_interfaces": CARD.supported_interfaces}) == CARD


def test_a_pure_card_has_no_field_of_0_3_and_a_dual_one_has_both() -> None:
    dual, pure = card_to_dual(CARD), card_to_v1(CARD)

    assert set(dual) - set(pure) == {
        "url",
        "preferredTransport",
        "additionalInterfaces",
        "protocolVersion",
        "supportsAuthenticatedExtendedCard",
        "security",
    }
    assert dual["url"] == "https://a.example/v3"
    assert dual["securitySchemes"]["key"]["in"] == "header"


def test_errors_are_found_by_code_and_by_reason() -> None:
    for kind in ErrorKind:
        assert error_of_code(kind.code) is kind
        assert error_of_reason(kind.name) is kind
    assert error_of_code(1) is None
    assert error_of_reason("NO") is None


def test_an_error_has_details_in_1_0_and_the_fields_at_fault_in_0_3() -> None:
    error = ProtocolError(ErrorKind.INVALID_PARAMS, violations=[("message", "missing")])

    info, fields = error.to_json_rpc("1.0")["data"]

    assert (info["reason"], info["domain"]) == ("INVALID_PARAMS", "a2a-protocol.org")
    assert fields["fieldViolations"] == [{"field": "message", "description": "missing"}]
    assert error.to_json_rpc("0.3")["data"] == [{"field": "message", "description": "missing"}]
    assert error.to_rest()["error"]["status"] == "INVALID_ARGUMENT"


def test_a_timestamp_ends_in_z() -> None:
    assert timestamp(1.5) == "1970-01-01T00:00:01.500Z"
    assert timestamp().endswith("Z")


def test_a_part_of_two_contents_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        Part(text="a", url="b")
