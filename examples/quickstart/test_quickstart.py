"""Asks the quickstart real questions about real files, with and without a model."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


class ChatServer(ThreadingHTTPServer):
    """A server that speaks chat completions, and answers every question in the same way."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ChatHandler)
        self.events: list[Any] = [word_event("When nothing "), word_event("is left."), "[DONE]"]
        self.status = 200
        self.holds_on = False
        self.request: dict[str, Any] = {}
        self.authorization: str | None = None
        self.client_left = threading.Event()

    @property
    def variables(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"http://127.0.0.1:{self.server_port}/v1", "OPENAI_MODEL": "tiny"}


class ChatHandler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        self.server.request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.authorization = self.headers["Authorization"]
        found = self.path == "/v1/chat/completions"
        self.send_response(self.server.status if found else 404)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in self.server.events:
            data = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"data: {data}\n\n".encode())
        if self.server.holds_on:
            # Nothing more is sent from there, so this returns when the client closes the connection.
            self.connection.recv(1)
            self.server.client_left.set()

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


def word_event(text: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def split_report(stdout: str) -> tuple[str, str, str]:
    """Return the answer, the rows of the timing table, and the graph."""
    answer, _, rest = stdout.partition("\nnode ")
    table, _, graph = rest.partition("\n\nflowchart ")
    return answer, table.partition("\n")[2], graph


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A directory with two files about traces, and one about something else."""
    (tmp_path / "flows.md").write_text("# Flows\n\nA flow is a graph.\n\nA trace ends when nothing of it is left.\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "cancel.md").write_text("Cancelling ends a trace early.\n")
    (tmp_path / "birds.txt").write_text("Penguins swim.\n")
    return tmp_path


def test_answers_with_the_best_passages_and_their_sources(run_example: Run, notes: Path) -> None:
    done = run_example("quickstart", "How does a trace end?", notes)
    assert done.returncode == 0, done.stderr
    answer, sources = done.stdout.split("Sources:")
    assert "A trace ends when nothing of it is left." in answer
    assert f"[{notes}/flows.md:5]" in answer
    assert f"{notes}/flows.md:5" in sources
    assert "Penguins" not in done.stdout


def test_answers_from_the_files_of_this_repository(run_example: Run) -> None:
    done = run_example("quickstart", "How does a trace end?", "docs/", "README.md")
    assert done.returncode == 0, done.stderr
    assert "trace" in done.stdout.split("Sources:")[0]
    assert ".md:" in done.stdout.split("Sources:")[1]


def test_shows_progress_timings_and_the_graph(run_example: Run, notes: Path) -> None:
    done = run_example("quickstart", "How does a trace end?", notes)
    assert "read 3 of 3 files" in done.stderr
    _, table, graph = split_report(done.stdout)
    runs = {line.split()[0]: line.split()[1] for line in table.splitlines()}
    assert runs == dict.fromkeys(["triage", "scatter", "rank", "answer"], "1") | {"retrieve": "3", "gather": "3"}
    assert 'triage"}' in graph
    assert '["retrieve"]' in graph


def test_gives_the_same_answer_every_time(run_example: Run, notes: Path) -> None:
    first, second = (
        split_report(run_example("quickstart", "How does a trace end?", notes, PYTHONHASHSEED=seed).stdout)[::2]
        for seed in ("1", "2")
    )
    assert first == second


def test_a_source_points_into_a_long_paragraph(run_example: Run, tmp_path: Path) -> None:
    lines = [f"line {number} about birds" for number in range(1, 30)]
    lines[17] = "a trace ends when nothing of it is left"
    (tmp_path / "long.txt").write_text("\n".join(lines))
    (tmp_path / "minified.js").write_text("x = 'bird'; " * 30_000 + "trace.end()")
    done = run_example("quickstart", "How does a trace end?", tmp_path)
    assert done.returncode == 0, done.stderr
    sources = split_report(done.stdout)[0].partition("Sources:")[2].split()
    assert sorted(sources) == [f"{tmp_path}/long.txt:17", f"{tmp_path}/minified.js:1"]


def test_prose_goes_before_code_and_tables(run_example: Run, tmp_path: Path) -> None:
    page = (
        "| trace | end |\n|---|---|\n\n```sh\n# trace end\n\ntrace end\n```\n\n- A list.\n- The trace ends at last.\n"
    )
    (tmp_path / "page.md").write_text(page)
    done = run_example("quickstart", "How does a trace end?", tmp_path)
    assert done.stdout.startswith(f"- The trace ends at last.\n    [{tmp_path}/page.md:11]")


def test_reports_and_skips_what_it_cannot_read(run_example: Run, notes: Path) -> None:
    (notes / "dangling").symlink_to(notes / "nowhere")
    (notes / "image.png").write_bytes(b"\x89PNG\0\0")
    (notes / "latin.txt").write_bytes("caf\u00e9 trace".encode("latin-1"))
    with (notes / "huge.log").open("wb") as huge:
        huge.truncate(9 * 1024 * 1024)
    os.mkfifo(notes / "pipe")
    done = run_example("quickstart", "How does a trace end?", notes, notes / "missing.md")
    assert done.returncode == 0, done.stderr
    skipped = [line.removeprefix(f"skipped {notes}/") for line in done.stderr.splitlines() if "skipped" in line]
    assert skipped == [
        "dangling: No such file or directory",
        "huge.log: larger than 8 MiB",
        "image.png: binary",
        "latin.txt: not UTF-8 text (byte 3)",
        "missing.md: No such file or directory",
        "pipe: not a regular file",
    ]


def test_says_so_when_no_file_fits(run_example: Run, notes: Path) -> None:
    done = run_example("quickstart", "zeppelin?", notes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Nothing in these files fits the question.")


def test_says_so_when_no_file_can_be_read(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\0")
    done = run_example("quickstart", "zeppelin?", tmp_path / "image")
    assert "image: binary" in done.stderr
    assert done.stdout.startswith("Nothing in these files fits the question.")


def test_asks_back_when_there_is_nothing_to_look_up(run_example: Run, notes: Path) -> None:
    done = run_example("quickstart", "what is it?", notes)
    assert done.stdout.startswith("There is nothing to look up in 'what is it?'")
    assert "retrieve" not in split_report(done.stdout)[1]


@pytest.mark.parametrize("question", ["", "  "])
def test_refuses_an_empty_question(run_example: Run, notes: Path, question: str) -> None:
    done = run_example("quickstart", question, notes)
    assert done.returncode == 2
    assert "the question is empty" in done.stderr


def test_refuses_a_path_that_leads_nowhere(run_example: Run, tmp_path: Path) -> None:
    done = run_example("quickstart", "How?", tmp_path / "nope", tmp_path / "neither")
    assert done.returncode == 2
    assert "nope and no" in done.stderr


def test_refuses_a_directory_without_files(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("trace")
    done = run_example("quickstart", "How does a trace end?", tmp_path)
    assert done.returncode == 2
    assert f"no files below {tmp_path}" in done.stderr


def test_reads_a_file_once_that_is_named_twice(run_example: Run, notes: Path) -> None:
    done = run_example("quickstart", "How does a trace end?", notes, notes / "birds.txt", notes / "sub")
    assert "read 3 of 3 files" in done.stderr


def test_a_file_cannot_steer_the_terminal(run_example: Run, notes: Path) -> None:
    (notes / "\x1b[2Jtrace.md").write_text("The end of a trace \x1b]0;owned\x07 \x9b31m\n")
    done = run_example("quickstart", "How does a trace end?", notes)
    assert "The end of a trace" in done.stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout)


def test_streams_the_words_of_a_model(run_example: Run, notes: Path, chat_server: ChatServer) -> None:
    chat_server.events.insert(1, {"choices": []})
    chat_server.events.insert(1, word_event(None))
    done = run_example(
        "quickstart", "How does a trace end?", notes, **chat_server.variables, OPENAI_API_KEY="secret-key"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("When nothing is left.\nSources:")
    assert "answering with tiny at http://127.0.0.1" in done.stderr
    assert "secret-key" not in done.stdout + done.stderr
    assert chat_server.authorization == "Bearer secret-key"
    assert chat_server.request["stream"] is True
    assert f"[{notes}/flows.md:5]\nA trace ends when" in chat_server.request["messages"][1]["content"]


def test_prints_each_piece_as_the_model_makes_it(start_example: Start, notes: Path, chat_server: ChatServer) -> None:
    chat_server.events = [word_event("When nothing\n")]
    chat_server.holds_on = True
    process = start_example("quickstart", "How does a trace end?", notes, **chat_server.variables)
    assert process.stdout is not None
    assert process.stdout.readline() == "When nothing\n"
    assert process.poll() is None


def test_ctrl_c_cancels_the_trace_and_the_request(start_example: Start, notes: Path, chat_server: ChatServer) -> None:
    chat_server.events = [word_event("When nothing\n")]
    chat_server.holds_on = True
    process = start_example("quickstart", "How does a trace end?", notes, **chat_server.variables)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert stderr.endswith("\ncancelled\n")
    assert "Traceback" not in stderr
    assert chat_server.client_left.wait(timeout=10)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([word_event("When")], "ended its answer before it was complete"),
        (["{}"], "sent an event in another form: {}"),
        (["not JSON"], "sent an event in another form: not JSON"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
    ],
)
def test_fails_when_the_model_breaks_off(
    run_example: Run, notes: Path, chat_server: ChatServer, events: list[Any], reason: str
) -> None:
    chat_server.events = events
    done = run_example("quickstart", "How does a trace end?", notes, **chat_server.variables)
    assert done.returncode == 1
    assert "no answer: [NODE_EXCEPTION]" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_fails_when_the_endpoint_refuses(run_example: Run, notes: Path, chat_server: ChatServer) -> None:
    chat_server.status = 401
    chat_server.events = [{"error": "no such key"}]
    done = run_example("quickstart", "How does a trace end?", notes, **chat_server.variables)
    assert done.returncode == 1
    assert "answered 401" in done.stderr
    assert "no such key" in done.stderr


def test_fails_when_the_endpoint_is_not_there(run_example: Run, notes: Path) -> None:
    gone = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": "tiny"}
    done = run_example("quickstart", "How does a trace end?", notes, **gone)
    assert done.returncode == 1
    assert "http://127.0.0.1:9/v1/chat/completions: " in done.stderr


def test_names_the_variable_that_is_missing(run_example: Run, notes: Path) -> None:
    done = run_example("quickstart", "How does a trace end?", notes, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert done.returncode == 1
    assert "OPENAI_MODEL" in done.stderr


def test_ends_quietly_when_its_reader_leaves(start_example: Start, notes: Path) -> None:
    process = start_example("quickstart", "How does a trace end?", notes)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Error" not in process.stderr.read()
    assert process.wait(timeout=10) == 1
