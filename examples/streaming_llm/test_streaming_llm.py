"""Talks to the server over real connections."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

LONG = "penguins " * 220
"""A prompt whose answer takes several seconds."""


class Server:
    """The example, serving on a free port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = self.wait_for_log("Uvicorn running on").split("http://")[1].split()[0]

    def wait_for_log(self, text: str) -> str:
        """Return the next line of its log that holds `text`."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if text in line)


@pytest.fixture
def server(start_example: Callable[..., subprocess.Popen[str]]) -> Server:
    return Server(start_example("streaming_llm", "--port", "0"))


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read Server-Sent Events as they arrive."""
    name = ""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def get(server: Server, prompt: str) -> Any:
    return httpx.stream("GET", f"http://{server.address}/sse", params={"prompt": prompt}, timeout=10)


def test_streams_over_server_sent_events(server: Server) -> None:
    with get(server, "hello there") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        *chunks, result = events(response)
    assert [data["text"] for _, data in chunks] == ["You ", "said: ", "hello ", "there ", ""]
    assert [data["seq"] for _, data in chunks] == [0, 1, 2, 3, 4]
    assert [data["done"] for _, data in chunks] == [False] * 4 + [True]
    completion = {"text": "You said: hello there", "tokens": 4}
    assert result == ("result", {"results": [{"exit": "count", "value": completion}]})


def test_streams_over_a_websocket(server: Server) -> None:
    with connect(f"ws://{server.address}/ws") as socket:
        for prompt in ("one", "two"):
            socket.send(prompt)
            received = [json.loads(socket.recv(timeout=10)) for _ in range(5)]
            assert [message["data"]["text"] for message in received[:-1]] == ["You ", "said: ", f"{prompt} ", ""]
            assert received[-1]["data"]["results"][0]["value"] == {"text": f"You said: {prompt}", "tokens": 3}


def test_serves_others_while_one_stream_is_long(server: Server) -> None:
    with get(server, LONG) as long_response:
        first = next(events(long_response))
        with get(server, "short") as response:
            assert list(events(response))[-1][0] == "result"
    assert first[1]["text"] == "You "


def test_a_client_that_leaves_cancels_its_trace(server: Server) -> None:
    with get(server, LONG) as response:
        next(events(response))
        trace_id = response.headers["x-trace-id"]
    assert f"trace={trace_id}" in server.wait_for_log("cancel_begin")
    with connect(f"ws://{server.address}/ws") as socket:
        socket.send(LONG)
        socket.recv(timeout=10)
    server.wait_for_log("cancel_begin")


def test_tells_the_client_what_is_wrong_with_a_prompt(server: Server) -> None:
    with get(server, "") as response:
        ((name, error),) = events(response)
    assert name == "error"
    assert error["code"] == "VALIDATION_FAILED"
    assert error["message"] == "invalid input: text: String should have at least 1 character"
    with connect(f"ws://{server.address}/ws") as socket:
        socket.send("x" * 2001)
        assert json.loads(socket.recv(timeout=10))["event"] == "error"
        socket.send("fine")
        assert json.loads(socket.recv(timeout=10))["event"] == "chunk"


def test_serves_the_page_and_stops_on_ctrl_c(server: Server) -> None:
    assert "EventSource" in httpx.get(f"http://{server.address}/").text
    server.process.send_signal(signal.SIGINT)
    _, log = server.process.communicate(timeout=10)
    assert "Finished server process" in log
    assert "Traceback" not in log
