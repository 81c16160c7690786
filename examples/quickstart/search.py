"""The nodes that search: one file each, then the best of all by BM25 over stemmed words."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import anyio
import bm25s
import snowballstemmer
from answers import Evidence
from files import NotReadable, Passage, printable, read_passages
from pydantic import BaseModel

from penguiflow import Context, FinalAnswer

BEST = 4
NOT_PROSE_WEIGHT = 0.5
"""Code and tables hold the words of a question more often than its answer."""
NOTES = "notes"
"""The stream of what is worth knowing beside the answer; any other is the answer's."""


class Question(BaseModel):
    """What to find out, and from which files."""

    text: str
    files: list[Path]


class Lookup(BaseModel):
    """One file to search."""

    question: str
    path: Path


class Found(BaseModel):
    """The passages of one file, or why there are none."""

    question: str
    path: Path
    passages: list[Passage] = []
    problem: str | None = None


async def scatter(question: Question, ctx: Context) -> None:
    """Send every file on by itself; waits while those ahead are still being read."""
    for path in question.files:
        await ctx.emit(Lookup(question=question.text, path=path))


async def retrieve(lookup: Lookup, ctx: Context) -> Found:
    """Read one file, off the event loop."""
    found = Found(question=lookup.question, path=lookup.path)
    try:
        found.passages = await anyio.to_thread.run_sync(read_passages, lookup.path)
    except NotReadable as error:
        found.problem = str(error)
    return found


async def choose_passages(files: list[Found], ctx: Context) -> Evidence | FinalAnswer:
    """Choose the best passages of all files, and say which files are missing."""
    files = sorted(files, key=lambda found: found.path)
    for found in files:
        if found.problem:
            await ctx.emit_chunk(NOTES, text=f"skipped {printable(str(found.path))}: {found.problem}\n")
    question = files[0].question
    best = await anyio.to_thread.run_sync(rank, question, [passage for found in files for passage in found.passages])
    if best:
        return Evidence(question=question, passages=best)
    text = "Nothing in these files fits the question.\n"
    await ctx.emit_chunk(text=text, done=True)
    return FinalAnswer(text=text)


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """Return what each text is found by: its words, stemmed and without the most common ones, and pairs of them."""
    stem = snowballstemmer.stemmer("english").stemWords
    words: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="en_plus", stemmer=stem, return_ids=False, show_progress=False
    )
    return [[*single, *map(" ".join, itertools.pairwise(single))] for single in words]


def rank(question: str, passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages that fit the question best, the best first.

    Left out is what shares no word with the question, and what quotes it whole: that asks, too.
    """
    asked = question.strip().lower()
    # Each text once, however many files repeat it; the first of them is its source.
    searched = list({passage.text: passage for passage in reversed(passages)}.values())[::-1]
    searched = [passage for passage in searched if asked not in passage.text.lower()]
    *words, asked_words = words_of([*(f"{passage.heading} {passage.text}" for passage in searched), question])
    if not any(words):
        return []
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    weights = [1.0 if passage.is_prose else NOT_PROSE_WEIGHT for passage in searched]
    scores = index.get_scores(asked_words) * weights
    best = sorted(range(len(searched)), key=lambda number: -scores[number])[:BEST]
    return [searched[number] for number in best if scores[number] > 0]
