"""Answers a question from files: `flow.py "How does a trace end?" docs/ README.md`.

Streams the best passages with their sources or, where OPENAI_BASE_URL and OPENAI_MODEL name an endpoint that speaks
OpenAI's API, the words of that model.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from answers import AnswerWithModel, Endpoint, Evidence, ModelFailed, answer_with_passages
from files import find_files, printable
from report import Progress, timing_table
from search import NOTES, Found, Lookup, Question, choose_passages, retrieve, scatter, words_of

from penguiflow import (
    Context,
    FinalAnswer,
    FlowError,
    ModelRegistry,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
    predicate_router,
    viz,
)
from penguiflow.middlewares import NodeTimings

FILES_AT_ONCE = 8


def choose_path(question: Question) -> str:
    """Search only for what has a word that can be found."""
    return "scatter" if words_of([question.text])[0] else "clarify"


async def clarify(question: Question, ctx: Context) -> FinalAnswer:
    """Say that the question has no word to search for."""
    text = f"There is nothing to look up in {printable(question.text)!r}: ask about something by its name.\n"
    await ctx.emit_chunk(text=text, done=True)
    return FinalAnswer(text=text)


def build_flow(file_count: int, endpoint: Endpoint | None) -> tuple[PenguiFlow, ModelRegistry]:
    """Connect the nodes, and say what each of them takes and gives."""
    triage = predicate_router("triage", choose_path)
    unclear = Node(clarify)
    lookups = Node(scatter)
    # The files belong to one trace: ordered, they would be read one after the other.
    reading = Node(retrieve, policy=NodePolicy(ordered=False, max_concurrency=FILES_AT_ONCE))
    gather = join_k("gather", file_count)
    ranking = Node(choose_passages, "rank")
    answer = Node(AnswerWithModel(endpoint) if endpoint else answer_with_passages, "answer")
    flow = create(
        triage.to(unclear, lookups),
        lookups.to(reading),
        reading.to(gather),
        gather.to(ranking),
        ranking.to(answer),
        name="quickstart",
        on_event=Progress(file_count),
    )
    registry = ModelRegistry()
    registry.register("clarify", Question, FinalAnswer)
    registry.register("scatter", Question, Lookup)
    registry.register("retrieve", Lookup, Found)
    registry.register("rank", list[Found], Evidence | FinalAnswer)
    registry.register("answer", Evidence, FinalAnswer)
    return flow, registry


async def run(question: Question, endpoint: Endpoint | None) -> None:
    """Ask, show the answer while it is made, then how it was made."""
    flow, registry = build_flow(len(question.files), endpoint)
    timings = NodeTimings()
    flow.add_middleware(timings)
    async with flow.run(registry), await flow.submit(question) as trace:
        async for chunk in trace.chunks():
            print(chunk.text, end="", file=sys.stderr if chunk.stream_id == NOTES else sys.stdout, flush=True)
        answer: FinalAnswer = await trace.result()
    if answer.citations:
        print("Sources:", *answer.citations, sep="\n  ")
    print(f"\n{timing_table(timings)}\n\n{viz.to_mermaid(flow)}")


def main() -> int:
    """Read the command line and run; return the exit status."""
    parser = argparse.ArgumentParser(description="Answer a question from files.")
    parser.add_argument("question")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, or a directory to search")
    arguments = parser.parse_args()
    if not arguments.question.strip():
        parser.error("the question is empty")
    if not any(path.exists() for path in arguments.paths):
        parser.error(f"there is no {' and no '.join(map(str, arguments.paths))}")
    try:
        files = find_files(arguments.paths)
        if not files:
            parser.error(f"no files below {', '.join(map(str, arguments.paths))}")
        endpoint = Endpoint.from_environment()
        if endpoint:
            print(f"answering with {endpoint.model} at {endpoint.url}", file=sys.stderr)
        asyncio.run(run(Question(text=arguments.question, files=files), endpoint))
        sys.stdout.flush()
    except (FlowError, ModelFailed) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncancelled", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the answer has left; without this, Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
