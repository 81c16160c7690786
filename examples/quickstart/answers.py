"""Two ways to answer from passages: their own words, or those of a model. Both stream while they answer."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from files import Passage
from pydantic import BaseModel, Field

from penguiflow import Context, FinalAnswer

INSTRUCTIONS = (
    "Answer the question from the passages alone, in a few sentences. Name the sources of what you say in brackets, "
    "as given. If the passages do not answer it, say so."
)
PAUSE_S = 60.0
"""How long a model may be silent."""


class Evidence(BaseModel):
    """A question and the passages that fit it best, the best first."""

    question: str
    passages: list[Passage]


class ModelFailed(Exception):
    """The endpoint of the model gave no answer, or half of one."""


class Endpoint(BaseModel):
    """A server that speaks the chat completions of OpenAI's API."""

    url: str
    model: str
    key: str = Field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Endpoint | None":
        """Read OPENAI_BASE_URL, OPENAI_MODEL and, if the server wants it, OPENAI_API_KEY; None without a URL.

        Raises:
            ModelFailed: the URL is there and the model is not.
        """
        url = environment.get("OPENAI_BASE_URL", "")
        if not url:
            return None
        if not environment.get("OPENAI_MODEL"):
            raise ModelFailed(f"OPENAI_BASE_URL is {url}: name one of its models in OPENAI_MODEL, or unset both")
        return cls(url=url, model=environment["OPENAI_MODEL"], key=environment.get("OPENAI_API_KEY", ""))


async def answer_with_passages(evidence: Evidence, ctx: Context) -> FinalAnswer:
    """Answer in the words of the passages."""
    parts = []
    for passage in evidence.passages:
        part = f"{passage.text}\n    [{passage.source}]\n\n"
        await ctx.emit_chunk(text=part)
        parts.append(part)
    await ctx.emit_chunk(done=True)
    return FinalAnswer(text="".join(parts), citations=_sources(evidence))


class AnswerWithModel:
    """Answers in the words of a model, which is shown the passages."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def __call__(self, evidence: Evidence, ctx: Context) -> FinalAnswer:
        words = []
        async for text in stream_chat(self.endpoint, _messages(evidence)):
            await ctx.emit_chunk(text=text)
            words.append(text)
        await ctx.emit_chunk(text="\n", done=True)
        return FinalAnswer(text="".join(words), citations=_sources(evidence))


async def stream_chat(endpoint: Endpoint, messages: list[dict[str, str]]) -> AsyncIterator[str]:
    """Yield a model's answer piece by piece.

    Raises:
        ModelFailed: the endpoint is not reachable, refuses, or breaks off.
    """
    # Importing it takes longer than many an answer without a model.
    import httpx

    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    body = {"model": endpoint.model, "messages": messages, "stream": True}
    url = f"{endpoint.url.rstrip('/')}/chat/completions"
    try:
        async with (
            httpx.AsyncClient(timeout=PAUSE_S, headers=headers) as client,
            client.stream("POST", url, json=body) as response,
        ):
            if response.status_code != httpx.codes.OK:
                problem = (await response.aread()).decode(errors="replace")[:500]
                raise ModelFailed(f"{url} answered {response.status_code}: {problem}")
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                if line.startswith("data:"):
                    yield _text_of(data)
    except httpx.HTTPError as error:
        raise ModelFailed(f"{url}: {str(error) or type(error).__name__}") from error
    raise ModelFailed(f"{url} ended its answer before it was complete")


def _text_of(data: str) -> str:
    """Return the text in one event of the stream."""
    try:
        event: dict[str, Any] = json.loads(data)
        if "error" in event:
            raise ModelFailed(f"the model failed: {event['error']}")
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFailed(f"the model sent an event in another form: {data[:200]}") from error


def _messages(evidence: Evidence) -> list[dict[str, str]]:
    passages = "\n\n".join(f"[{passage.source}]\n{passage.text}" for passage in evidence.passages)
    return [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": f"{passages}\n\nQuestion: {evidence.question}"},
    ]


def _sources(evidence: Evidence) -> list[str]:
    return [passage.source for passage in evidence.passages]
