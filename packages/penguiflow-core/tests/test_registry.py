"""The registry: what may be registered, and what nodes then take and give."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from penguiflow import Context, FlowDefinitionError, Message, ModelRegistry, Node, ValidationFailed, create


class Question(BaseModel):
    """What is asked."""

    text: str


@dataclass
class Point:
    """A place, as a plain dataclass."""

    x: int
    y: int = 0


async def echo(message: Any, ctx: Context) -> Any:
    return message


def registered(in_model: Any, out_model: Any) -> ModelRegistry:
    registry = ModelRegistry()
    registry.register("echo", in_model, out_model)
    return registry


async def ask(registry: ModelRegistry, message: Any) -> Any:
    async with create(Node(echo)).run(registry) as flow:
        return await flow.ask(message)


@pytest.mark.parametrize(
    ("model", "given", "taken"),
    [
        (Question, {"text": "x"}, Question(text="x")),
        (Point, {"x": "1"}, Point(1, 0)),
        (list[int], ["1", 2], [1, 2]),
        (int | str, "1", "1"),
        (Annotated[int, Field(ge=1)], 1, 1),
        (Any, object, object),
    ],
)
async def test_any_type_that_pydantic_can_validate_is_a_model(model: Any, given: Any, taken: Any) -> None:
    assert await ask(registered(model, model), given) == taken


async def test_a_message_is_validated_by_its_payload() -> None:
    message = Message(payload={"text": "x"}, meta={"a": 1})

    answer = await ask(registered(Question, Question), message)

    assert isinstance(answer, Message)
    assert (answer.payload, answer.meta, answer.trace_id) == (Question(text="x"), {"a": 1}, message.trace_id)


async def test_a_node_registered_for_messages_takes_them_whole() -> None:
    seen: list[Any] = []

    async def look(message: Message, ctx: Context) -> Message:
        seen.append(message)
        return message

    registry = ModelRegistry()
    registry.register("look", Message, Message)
    async with create(Node(look)).run(registry) as flow:
        await flow.ask(Message(payload="x", trace_id="t"))
        with pytest.raises(ValidationFailed):
            await flow.ask("bare")

    assert [type(message) for message in seen] == [Message]


async def test_an_input_or_output_that_does_not_fit_names_its_side() -> None:
    with pytest.raises(ValidationFailed, match="invalid input: text: Field required") as taken:
        await ask(registered(Question, Question), {})
    with pytest.raises(ValidationFailed, match="invalid output: ") as given:
        await ask(registered(str, int), "x")

    assert (taken.value.stage, given.value.stage) == ("in", "out")
    assert taken.value.details == [{"type": "missing", "loc": ("text",), "msg": "Field required"}]


def test_one_adapter_is_built_for_each_distinct_model() -> None:
    registry = ModelRegistry()
    union = int | str
    registry.register("a", Question, union)
    registry.register("b", union, Question)

    assert registry.models("a").in_adapter is registry.models("b").out_adapter
    assert registry.models("a").out_adapter is registry.models("b").in_adapter
    assert "a" in registry
    assert "c" not in registry


def test_a_node_is_registered_once() -> None:
    registry = registered(str, str)

    with pytest.raises(FlowDefinitionError, match="'echo' is registered already"):
        registry.register("echo", str, int)

    assert registry.models("echo").out_model is str


def test_a_node_that_is_missing_is_named_with_what_to_add() -> None:
    with pytest.raises(FlowDefinitionError, match=r"add registry.register\('far', In, Out\)") as caught:
        ModelRegistry().models("far")

    assert caught.value.node_name == "far"


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_node_has_a_name(name: Any) -> None:
    with pytest.raises(FlowDefinitionError, match="takes the name of a node"):
        ModelRegistry().register(name, str, str)


class Opaque:
    """A class that pydantic knows nothing of."""


@pytest.mark.parametrize("model", [None, "Question", 7, [int], {"text": str}, Opaque])
@pytest.mark.parametrize("role", ["in_model", "out_model"])
def test_what_is_no_model_is_refused_by_its_role(model: Any, role: str) -> None:
    models = {"in_model": str, "out_model": str, role: model}

    with pytest.raises(FlowDefinitionError, match=f"{role} of node 'echo' is .*pydantic cannot validate"):
        ModelRegistry().register("echo", **models)
