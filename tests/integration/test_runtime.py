"""The runtime as a user installs it."""

import json
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel

from penguiflow import Context, ModelRegistry, Node, NodePolicy, create

from .conftest import Program

FAN_OUT = """
import asyncio
from penguiflow import Node, create, viz

async def work(message, ctx):
    return message

seen = []
nodes = [Node(work, name=name) for name in ("delta", "alpha", "echo", "bravo", "charlie")]
flow = create(nodes[0].to(*nodes[1:]), on_event=lambda event: seen.append((event.event_type, event.node_name)))

async def run():
    async with flow:
        trace = await flow.submit("a message")
        return await trace.results()
"""


class Question(BaseModel):
    """What is asked."""

    text: str


class Answer(BaseModel):
    """What is answered."""

    words: int


@pytest.mark.smoke
async def test_a_typed_flow_answers() -> None:
    async def clean(question: Question, ctx: Context) -> Question:
        return Question(text=question.text.strip())

    async def count(question: Question, ctx: Context) -> Answer:
        return Answer(words=len(question.text.split()))

    first, last = Node(clean, name="clean"), Node(count, name="count", policy=NodePolicy(validate="both"))
    registry = ModelRegistry()
    registry.register("clean", Question, Question)
    registry.register("count", Question, Answer)

    flow = create(first.to(last))
    flow.run(registry=registry)
    answer = await flow.ask(Question(text=" how does a trace end "))
    await flow.stop()

    assert answer == Answer(words=5)


@pytest.mark.smoke
def test_a_script_asks_without_a_loop(program: Program) -> None:
    printed = program(
        "from penguiflow import Node, create\n"
        "async def double(number, ctx):\n"
        "    return 2 * number\n"
        "print(create(Node(double).to()).ask_sync(21))\n"
    )

    assert printed == "42\n"


def test_importing_it_loads_only_what_it_declares(program: Program) -> None:
    source = "import json, sys, penguiflow; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(program(source))}

    providers = packages_distributions()
    distributions = {canonicalize_name(provider) for name in loaded for provider in providers.get(name, [])}

    assert distributions <= closure("penguiflow-core")


@pytest.mark.parametrize(
    "shown", ["viz.to_mermaid(flow), viz.to_dot(flow)", "asyncio.run(run()), seen"], ids=["diagrams", "events"]
)
def test_what_a_flow_shows_does_not_differ_between_processes(program: Program, shown: str) -> None:
    printed = {program(f"{FAN_OUT}\nprint({shown})", PYTHONHASHSEED=seed) for seed in ("0", "1", "2")}

    assert len(printed) == 1
    assert "echo" in printed.pop()


def closure(name: str) -> set[str]:
    """Return a distribution and what it requires, directly or not, on this Python and without extras."""
    found, waiting = {name}, [name]
    while waiting:
        for line in requires(waiting.pop()) or []:
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and (required := canonicalize_name(requirement.name)) not in found:
                found.add(required)
                waiting.append(required)
    return found
