"""Follows facts from one to the next until a question is answered: `flow.py orca --budget-hops 3`.

`think` plans what to look up and `act` looks it up, in a loop: what `act` finds is what `think` plans from next. The
loop ends in an answer or, where its budget is spent, in one that says so.
"""

import argparse
import asyncio
import sys

from pydantic import BaseModel

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    FlowError,
    ModelRegistry,
    Node,
    PenguiFlow,
    PlanStep,
    Thought,
    create,
    map_concurrent,
)

EATS = {
    "orca": ["penguin", "seal"],
    "penguin": ["fish", "krill"],
    "seal": ["fish"],
    "fish": ["krill"],
    "krill": ["algae"],
    "algae": [],
}


class Plan(BaseModel):
    """What is known, and what to do next."""

    memory: WM
    thought: Thought


async def look_up(animal: str) -> tuple[str, list[str]]:
    """Stand in for a search or a database: one fact at a time."""
    await asyncio.sleep(0.01)
    if animal not in EATS:
        raise LookupError(f"nothing is known of {animal!r}; known are {', '.join(EATS)}")
    return animal, EATS[animal]


async def think(memory: WM, ctx: Context) -> Plan | FinalAnswer:
    """Plan to look up everything that was heard of and is not known yet, or answer."""
    known = dict(memory.facts)
    heard_of = dict.fromkeys([memory.query, *(food for foods in known.values() for food in foods)])
    missing = [animal for animal in heard_of if animal not in known]
    if missing:
        step = PlanStep(kind="look_up", args={"animals": missing}, max_concurrency=4)
        return Plan(memory=memory, thought=Thought(steps=[step], rationale="not known yet"))
    sources = [animal for animal in known if not known[animal]]
    facts = [f"{animal} eats {' and '.join(foods)}" for animal, foods in known.items() if foods]
    return FinalAnswer(text=f"{memory.query} lives on {', '.join(sources)} in the end", citations=facts)


async def act(plan: Plan, ctx: Context) -> WM:
    """Carry the plan out, and remember what was found."""
    facts = list(plan.memory.facts)
    for step in plan.thought.steps:
        facts += await map_concurrent(step.args["animals"], look_up, max_concurrency=step.max_concurrency)
    return plan.memory.model_copy(update={"facts": facts})


def build_flow() -> tuple[PenguiFlow, ModelRegistry]:
    thinking, acting = Node(think, allow_cycle=True), Node(act)
    registry = ModelRegistry()
    registry.register("think", WM, Plan | FinalAnswer)
    registry.register("act", Plan, WM)
    return create(thinking.to(acting), acting.to(thinking)), registry


def main() -> int:
    parser = argparse.ArgumentParser(description="Find out what an animal lives on in the end.")
    parser.add_argument("animal", nargs="?", default="orca")
    parser.add_argument("--budget-hops", type=int, default=8, help="how many times the loop may be closed")
    arguments = parser.parse_args()
    flow, registry = build_flow()
    try:
        memory = WM(query=arguments.animal, budget_hops=arguments.budget_hops)
        answer: FinalAnswer = flow.ask_sync(memory, registry=registry)
    except (FlowError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(answer.text, *answer.citations, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
