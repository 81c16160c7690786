"""`connect(None)`: the sidecar of the user is found or started, once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import pegaflow
from pegaflow.__main__ import main

MIB = 1 << 20
DEADLINE_S = 20


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, whose sidecar is ended with the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield tmp_path / "pegaflow"
    holder = tmp_path / "pegaflow" / "sidecar.sock.lock"
    if holder.exists():
        os.kill(int(holder.read_text()), signal.SIGTERM)


def sidecar_pid(runtime: Path) -> int:
    return int((runtime / "sidecar.sock.lock").read_text())


def test_a_sidecar_is_started_and_outlives_its_starter(runtime: Path) -> None:
    code = "import pegaflow; pegaflow.connect(memory_bytes=16 << 20).put('key', b'value')"
    subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=True)
    with closing(pegaflow.connect()) as engine:
        assert engine.get("key") == b"value"
    assert os.getsid(sidecar_pid(runtime)) == sidecar_pid(runtime)


@pytest.mark.usefixtures("runtime")
def test_of_several_starters_one_wins_and_all_are_connected() -> None:
    code = "import pegaflow; pegaflow.connect(memory_bytes=16 << 20).put(b'%d', b''); print('ok')"
    commands = [[sys.executable, "-c", code % i] for i in range(6)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [process.communicate(timeout=DEADLINE_S)[0] for process in processes] == ["ok\n"] * 6
    with closing(pegaflow.connect()) as engine:
        assert len(engine) == 6


@pytest.mark.usefixtures("runtime")
def test_other_settings_than_the_running_ones_are_an_error() -> None:
    with closing(pegaflow.connect(memory_bytes=16 * MIB, policy="sieve")):
        with closing(pegaflow.connect(policy="sieve")):
            pass
        with pytest.raises(pegaflow.SettingsDifferError, match="policy=sieve, not lru"):
            pegaflow.connect(policy="lru")


@pytest.mark.usefixtures("runtime")
def test_a_sidecar_that_cannot_start_says_why() -> None:
    with pytest.raises(pegaflow.SidecarStartError, match='no eviction policy is called "best"'):
        pegaflow.connect(policy="best")


def test_a_runtime_directory_that_others_can_enter_is_refused(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o755)
    with pytest.raises(PermissionError, match="0700"):
        pegaflow.connect()


def test_a_path_without_a_sidecar_is_an_error_that_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(pegaflow.DisconnectedError, match="python -m pegaflow serve"):
        pegaflow.connect(tmp_path / "nobody.sock")


def test_a_sidecar_that_is_started_keeps_its_log_in_a_path_with_colons(runtime: Path, tmp_path: Path) -> None:
    with closing(pegaflow.connect(memory_bytes=4 * MIB, disk_path=tmp_path / "a:b")) as engine:
        engine.put("key", b"1")
    assert (tmp_path / "a:b" / "FORMAT").exists()


@pytest.mark.parametrize(
    "words", [["serve", "--metrics-port", "65536"], ["stats", "--interval-s", "-1"], ["stats", "--interval-s", "0"]]
)
def test_arguments_that_make_no_sense_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert words[2] in capsys.readouterr().err
