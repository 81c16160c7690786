"""A flow is used as documented, and nodes may use what asyncio and anyio offer."""

import asyncio
import functools
import sys
import time

import anyio
import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    FlowError,
    InMemoryStateStore,
    InProcBus,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    predicate_router,
)


class Question(BaseModel):
    text: str


class Documents(BaseModel):
    found: list[str]


class Answer(BaseModel):
    text: str


async def triage_question(question: Question, ctx: Context) -> Question:
    return question


async def retrieve_documents(question: Question, ctx: Context) -> Documents:
    return Documents(found=[f"about {question.text}"])


async def pack_answer(documents: Documents, ctx: Context) -> Answer:
    return Answer(text=", ".join(documents.found))


def documented() -> tuple[PenguiFlow, ModelRegistry]:
    triage, retrieve = Node(triage_question, name="triage"), Node(retrieve_documents, name="retrieve")
    pack = Node(pack_answer, name="pack")
    registry = ModelRegistry()
    registry.register("triage", Question, Question)
    registry.register("retrieve", Question, Documents)
    registry.register("pack", Documents, Answer)
    return create(triage.to(retrieve), retrieve.to(pack)), registry


@pytest.mark.smoke
async def test_a_typed_flow_of_three_nodes_runs_as_documented() -> None:
    flow, registry = documented()
    await flow.run(registry=registry)
    await flow.emit(Question(text="penguins"))
    assert await flow.fetch() == Answer(text="about penguins")
    await flow.stop()


async def test_a_bus_and_a_store_change_nothing_for_a_flow_in_one_process() -> None:
    flow, registry = documented()
    store = InMemoryStateStore()
    flow.run(registry=registry, message_bus=InProcBus(), state_store=store)
    trace = await flow.submit(Message(payload=Question(text="x"), trace_id="t"))
    assert (await trace.result()).payload == Answer(text="about x")
    await flow.stop()
    kinds = [event["kind"] for event in await store.load_history("t")]
    assert kinds.count("node_start") == kinds.count("node_end") == 3


async def test_running_a_part_of_a_flow_is_refused_by_name() -> None:
    flow, registry = documented()
    with pytest.raises(ValueError, match="retrieve"):
        flow.run(registry, nodes={"triage", "pack"})
    with pytest.raises(ValueError, match="'nowhere'"):
        flow.run(registry, nodes={"nowhere"})
    async with flow.run(registry, nodes={"triage", "retrieve", "pack"}):
        assert (await flow.ask(Question(text="x"))).text == "about x"


async def test_a_node_may_use_timeouts_task_groups_and_cancel_scopes() -> None:
    async def busy(n: int, ctx: Context) -> int:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(10)
        except TimeoutError:
            pass
        with anyio.move_on_after(0.001):
            await anyio.sleep(10)
        async with asyncio.TaskGroup() as group:
            doubled = group.create_task(asyncio.sleep(0, n * 2))
        async with anyio.create_task_group() as scope:
            scope.start_soon(anyio.sleep, 0)
        return doubled.result()

    async with create(Node(busy, policy=NodePolicy(max_concurrency=2))) as flow:
        assert await asyncio.gather(*(flow.ask(n) for n in range(8))) == [n * 2 for n in range(8)]


async def test_a_failing_task_group_in_a_node_is_an_error_of_its_trace() -> None:
    async def failing(n: int, ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(10))
            raise ValueError("inside")

    async with create(Node(failing)) as flow:
        for _ in range(3):
            with pytest.raises(FlowError, match="ExceptionGroup"):
                await flow.ask(1)


async def test_a_blocking_node_is_late_for_its_deadline_and_its_successor_does_not_run() -> None:
    ran: list[str] = []

    async def block(message: Message, ctx: Context) -> Message:
        time.sleep(0.05)  # noqa: ASYNC251 - the point is a node that blocks the loop
        return message

    async def after(message: Message, ctx: Context) -> None:
        ran.append("after")

    async with create(Node(block).to(Node(after))) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, deadline_s=time.time() + 0.02))
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert ran == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_task_factory_changes_nothing() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]

        async def work(n: int, ctx: Context) -> int:
            await asyncio.sleep(0)
            return n + 1

        nodes = [Node(work, f"n{i}") for i in range(3)]
        async with create(nodes[0].to(nodes[1]), nodes[1].to(nodes[2])) as flow:
            assert await asyncio.gather(*(flow.ask(n) for n in range(500))) == [n + 3 for n in range(500)]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("annotation", "whole"),
    [
        (Message, True),
        (Message | str, True),
        (object, True),
        (None, True),
        (str, False),
        (Question, False),
        (list[int], False),
        ("Message", True),
        ("Unresolvable", False),
    ],
)
async def test_what_a_node_is_handed_follows_its_annotation(annotation: object, whole: bool) -> None:
    seen: list[object] = []

    async def look(message, ctx):  # type: ignore[no-untyped-def]
        seen.append(message)
        return message

    if annotation is not None:
        look.__annotations__["message"] = annotation
    async with create(Node(look)) as flow:
        answer = await flow.ask(Message(payload="x", meta={"k": 1}))
    assert isinstance(seen[0], Message) is whole
    assert (answer.payload, answer.meta) == ("x", {"k": 1})


async def test_what_a_typed_node_emits_goes_on_in_its_message() -> None:
    async def split(text: str, ctx: Context) -> None:
        for letter in text:
            await ctx.emit(letter)

    async with create(Node(split)) as flow:
        results = await (await flow.submit(Message(payload="ab", trace_id="t", meta={"k": 1}))).results()
    assert [(value.payload, value.trace_id, value.meta) for _, value in results] == [
        ("a", "t", {"k": 1}),
        ("b", "t", {"k": 1}),
    ]


async def test_a_predicate_is_handed_what_its_annotation_says() -> None:
    def by_payload(text: str) -> str:
        return "left" if text.startswith("l") else "right"

    def by_message(message: Message) -> str:
        return "left" if message.payload.startswith("l") else "right"

    for predicate in (by_payload, by_message, lambda message: by_message(message)):
        router = predicate_router("route", predicate)
        async with create(router.to(Node(pass_on, "left"), Node(pass_on, "right"))) as flow:
            for payload, expected in (("lime", "left"), ("rose", "right")):
                results = await (await flow.submit(Message(payload=payload))).results()
                assert [name for name, _ in results] == [expected]


async def pass_on(message: Message, ctx: Context) -> Message:
    return message


async def test_an_annotation_is_found_behind_partial_objects_and_methods() -> None:
    class Shout:
        async def __call__(self, text: str, ctx: Context) -> str:
            return text.upper()

        async def method(self, text: str, ctx: Context) -> str:
            return text.upper()

    async def configured(config: Message, text: str, ctx: Context) -> str:
        return text.upper()

    for func in (Shout(), Shout().method, functools.partial(configured, Message(payload="config"))):
        async with create(Node(func, "shout")) as flow:
            assert (await flow.ask(Message(payload="hi"))).payload == "HI"


def test_a_builtin_function_may_be_a_predicate() -> None:
    assert predicate_router("route", max).takes_payload is False
