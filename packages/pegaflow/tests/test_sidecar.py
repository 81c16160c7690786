"""An engine shared by processes: what a client sees, and how a sidecar begins and ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import pegaflow

MIB = 1 << 20
DEADLINE_S = 20

Serve = Callable[..., Any]


def test_a_client_has_the_operations_of_an_engine(serve: Serve) -> None:
    server = serve("--memory", "64MiB")
    engine = server.connect()
    engine.put("key", b"value")
    assert (engine.get("key"), engine.get("none"), len(engine), "key" in engine) == (b"value", None, 1, True)
    engine.put_many({"a": b"1", "b": b"2"})
    assert engine.get_many(["a", "none", "b"]) == [b"1", None, b"2"]
    assert engine.scan() == [b"a", b"b", b"key"]
    assert engine.remove("a")
    assert engine.remove_many(["b", "none"]) == 1


def test_large_values_pass_by_every_way(serve: Serve) -> None:
    value = os.urandom(5 * MIB)
    engine = serve("--memory", "64MiB").connect()
    engine.put("key", memoryview(value))
    buffer = bytearray(len(value))
    assert engine.get_into("key", buffer) == len(value)
    assert buffer == value == engine.get("key")
    view = engine.get_view("key")
    assert view == value
    assert view.readonly


def test_what_one_process_puts_another_gets(serve: Serve) -> None:
    server = serve("--memory", "64MiB")
    engine = server.connect()
    server.run_client("engine.put('key', b'x' * 1_000_000); print('put')")
    assert engine.get("key") == b"x" * 1_000_000


def test_errors_are_those_of_an_engine(serve: Serve) -> None:
    server = serve("--memory", "8MiB")
    engine = server.connect()
    with pytest.raises(pegaflow.InvalidKeyError):
        engine.put("", b"value")
    with pytest.raises(pegaflow.TooLargeError) as caught:
        engine.put("key", bytes(9 * MIB))
    assert caught.value.context == {"value_bytes": 9 * MIB, "limit_bytes": 8 * MIB}
    with pytest.raises(KeyError):
        engine.get_into("none", bytearray(1))
    engine.put("key", b"value")
    with pytest.raises(pegaflow.InvalidArgumentError):
        engine.get_into("key", bytearray(1))


def test_a_closed_client_says_so_and_the_sidecar_goes_on(serve: Serve) -> None:
    server = serve()
    engine = server.connect()
    engine.put("key", b"value")
    engine.close()
    with pytest.raises(pegaflow.ClosedError):
        engine.get("key")
    assert server.connect().get("key") == b"value"


def test_sigterm_persists_what_was_put(serve: Serve, tmp_path: Path) -> None:
    options = ("--memory", "64MiB", "--disk", f"{tmp_path / 'kv'}:1GiB")
    server = serve(*options)
    engine = server.connect()
    engine.put_many({f"key-{i}": str(i).encode() * 1000 for i in range(300)})
    assert server.end() == 0
    assert not server.socket.exists()
    with pytest.raises(pegaflow.DisconnectedError):
        engine.get("key-1")
    engine = serve(*options).connect()
    assert all(engine.get(f"key-{i}") == str(i).encode() * 1000 for i in range(300))


def test_a_second_sidecar_on_a_socket_names_the_first(serve: Serve) -> None:
    server = serve()
    command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(server.socket)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert second.returncode == 1
    assert f"holder_pid={server.process.pid}" in second.stderr


def test_metrics_are_served_on_loopback_where_asked(serve: Serve) -> None:
    server = serve("--metrics-port", "0")
    engine = server.connect()
    engine.put("key", b"value")
    url = server.announced.rpartition(" ")[2].strip()
    assert url.startswith("http://127.0.0.1:")
    with urlopen(url, timeout=DEADLINE_S) as response:
        text = response.read().decode()
    assert "# TYPE pegaflow_puts_total counter\npegaflow_puts_total 1\n" in text
    assert "pegaflow_sidecar_clients 1\n" in text


def test_stats_shows_a_table_or_json(serve: Serve) -> None:
    server = serve()
    engine = server.connect()
    engine.put("key", b"value")
    command = [sys.executable, "-m", "pegaflow", "stats", "--socket", str(server.socket)]
    shown = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    table = subprocess.run([*command, "--once"], capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert json.loads(shown.stdout)["puts"] == 1
    assert "memory used bytes" in table.stdout


def test_a_sidecar_without_clients_ends_when_told_to(serve: Serve) -> None:
    server = serve("--idle-exit-s", "0.1")
    assert server.process.wait(DEADLINE_S) == 0


FORKS = """
import os
engine.put("key", b"value")
child = os.fork()
if child == 0:
    try:
        engine.get("key")
    except pegaflow.DisconnectedError as error:
        os._exit(7 if "forked" in str(error) else 1)
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), engine.get("key"), flush=True)
input()
"""


def test_a_forked_child_is_told_to_connect_again(serve: Serve) -> None:
    client = serve().run_client(FORKS)
    assert client.announced == "7 b'value'\n"


def test_ctrl_c_ends_a_sidecar_too(serve: Serve) -> None:
    server = serve()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(DEADLINE_S) == 0


def test_a_view_stays_as_it_is_when_its_engine_is_closed(serve: Serve) -> None:
    server = serve("--memory", "4MiB")
    reader, writer = server.connect(), server.connect()
    writer.put("key", bytes([7]) * 100_000)
    first, second = reader.get_view("key"), reader.get_view("key")
    reader.close()
    del first
    writer.put("key", b"other")
    for i in range(100):
        writer.put(f"{i}", bytes([9]) * 100_000)
    assert second is not None
    assert bytes(second) == bytes([7]) * 100_000
    with pytest.raises(pegaflow.ClosedError):
        reader.get("key")
    del second
    server.await_figure("puts", at_least=102)
    assert writer.get("99") == bytes([9]) * 100_000
