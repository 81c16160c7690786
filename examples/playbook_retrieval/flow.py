"""Answers a compound question part by part, each by the same playbook: `flow.py QUESTION FILE`.

The playbook is a flow of its own: search, then rerank, then compress. A node of the main flow calls it once for each
part, side by side. It runs in the caller's trace: within its deadline, cancelled with it, with its metadata.
"""

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path

import bm25s
from pydantic import BaseModel

from penguiflow import Context, FlowError, Message, ModelRegistry, Node, PenguiFlow, create, map_concurrent, viz

CANDIDATES = 8


class Search(BaseModel):
    """One thing to find in the paragraphs of a text."""

    question: str
    paragraphs: list[str]


class Answer(BaseModel):
    question: str
    text: str


async def search(wanted: Search, ctx: Context) -> Search:
    """Keep the paragraphs that fit best."""
    index = bm25s.BM25()
    index.index(_words(wanted.paragraphs), show_progress=False)
    scores = index.get_scores(_words([wanted.question])[0])
    best = sorted(range(len(scores)), key=lambda number: -scores[number])[:CANDIDATES]
    found = [wanted.paragraphs[number] for number in best if scores[number] > 0]
    if not found:
        raise LookupError(f"nothing in {ctx.meta['source']} fits {wanted.question!r}")
    return wanted.model_copy(update={"paragraphs": found})


async def rerank(found: Search, ctx: Context) -> Search:
    """Put first the paragraphs with most of the question's words, in the order of the search where that is equal."""
    words = set(_words([found.question])[0])
    best = sorted(found.paragraphs, key=lambda paragraph: -len(words & set(_words([paragraph])[0])))
    return found.model_copy(update={"paragraphs": best})


async def compress(found: Search, ctx: Context) -> Answer:
    """Keep the sentence of the first paragraph that has most of the question's words."""
    words = set(_words([found.question])[0])
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(found.paragraphs[0].split()))
    return Answer(question=found.question, text=max(sentences, key=lambda s: len(words & set(_words([s])[0]))))


def retrieval() -> tuple[PenguiFlow, ModelRegistry]:
    """Make the playbook: a fresh flow for each call."""
    first, second, third = Node(search), Node(rerank), Node(compress)
    registry = ModelRegistry()
    registry.register("search", Search, Search)
    registry.register("rerank", Search, Search)
    registry.register("compress", Search, Answer)
    return create(first.to(second), second.to(third), name="retrieval"), registry


async def split(wanted: Search, ctx: Context) -> list[Search]:
    """Cut the question into the parts that can be answered alone."""
    parts = re.split(r",? and (?=how|what|when|where|which|who|why)", wanted.question.rstrip("?"), flags=re.IGNORECASE)
    return [wanted.model_copy(update={"question": part}) for part in parts]


async def research(parts: list[Search], ctx: Context) -> list[Answer]:
    """Answer the parts side by side, in their order."""

    async def answer(part: Search) -> Answer:
        message = Message(payload=part, meta=dict(ctx.meta))
        answered: Message = await ctx.call_playbook(retrieval, message)
        assert isinstance(answered.payload, Answer)
        return answered.payload

    return await map_concurrent(parts, answer, max_concurrency=4)


def build_flow() -> PenguiFlow:
    return create(Node(split).to(Node(research, playbooks=[retrieval])), name="main")


def _words(texts: list[str]) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(texts, stopwords="en_plus", return_ids=False, show_progress=False)
    return words


async def run(question: str, source: str, text: str, deadline_s: float) -> None:
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    wanted = Search(question=question, paragraphs=paragraphs)
    message = Message(payload=wanted, deadline_s=time.time() + deadline_s, meta={"source": source})
    flow = build_flow()
    async with flow:
        answered = await flow.ask(message)
    for answer in answered.payload:
        print(f"{answer.question}?\n  {answer.text} [{answered.meta['source']}]")
    print(f"\n{viz.to_mermaid(flow)}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer a compound question from a file.")
    parser.add_argument(
        "question", nargs="?", default="How deep can an emperor penguin dive, and why do neighbours steal stones?"
    )
    parser.add_argument("file", nargs="?", type=Path, default=Path(__file__).parent / "sample.txt")
    parser.add_argument("--deadline-s", type=float, default=30.0)
    arguments = parser.parse_args()
    try:
        text = arguments.file.read_text(encoding="utf-8")
        asyncio.run(run(arguments.question, arguments.file.name, text, arguments.deadline_s))
    except (FlowError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
