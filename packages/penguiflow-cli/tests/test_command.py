"""The command as a whole: help, plugins, stores and buses by URL, completion."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import penguiflow_cli
from penguiflow_cli.main import main

Pf = Any


@pytest.mark.smoke
def test_help_lists_own_commands_and_those_of_other_packages(pf: Pf) -> None:
    shown = pf("--help").stdout

    for command in ("inspect", "traces", "tail", "doctor", "run", "resume", "cancel", "worker", "dlq", "viz", "greet"):
        assert command in shown
    assert "Exit status" in shown


def test_a_command_of_another_package_runs(pf: Pf) -> None:
    assert pf("greet", "Ada").stdout == "hello Ada\n"


def test_a_plugin_that_cannot_be_imported_harms_no_other(pf: Pf) -> None:
    assert "Not usable" in pf("--help").stdout
    assert "shelf_that_is_not_there:app cannot be imported" in pf("astray", "x", "--y", status=4).stderr


def test_a_command_whose_package_is_missing_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("penguiflow_cli._plugins.found", lambda group: {})
    monkeypatch.setattr(sys, "argv", ["pf", "a2a", "serve", "greeter:flow", "--port", "1"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 4
    assert "pip install 'penguiflow[a2a]'" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(pf: Pf) -> None:
    assert pf("--version").stdout.startswith("pf 2.")


def test_a_command_that_does_not_exist_is_wrong_usage(pf: Pf) -> None:
    assert "No such command" in pf("inspekt", status=2).stderr


@pytest.mark.parametrize(
    ("url", "status", "told"),
    [
        ("", 2, "PENGUIFLOW_STATE"),
        ("flows.db", 2, "is no URL"),
        ("shlf://here", 2, "did you mean shelf://"),
        ("mongodb://here", 2, "no installed package serves a store of mongodb://"),
        ("broken://here", 4, "No module named 'shelf_that_is_not_there'"),
        ("refusing://here", 2, "it has no path"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why(pf: Pf, url: str, status: int, told: str) -> None:
    assert told in pf("traces", status=status, PENGUIFLOW_STATE=url).stderr


@pytest.mark.parametrize(("scheme", "extra"), [("redis", "redis"), ("valkey", "redis")])
def test_a_scheme_that_is_not_installed_names_what_to_install(
    pf: Pf, monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str
) -> None:
    monkeypatch.setattr("penguiflow_cli._plugins.found", lambda group: {})

    told = pf("dlq", "list", "--bus", f"{scheme}://here", status=4).stderr
    assert f"pip install 'penguiflow[{extra}]'" in told


def test_the_option_goes_before_the_environment(pf: Pf) -> None:
    assert pf("traces", "--state", "shelf://there").stdout.count("\n") == 1
    assert pf("traces", "--state", "shelf://there", PENGUIFLOW_STATE="nonsense").exit_code == 0


def test_completion_names_the_commands(pf: Pf) -> None:
    result = pf(_PF_COMPLETE="complete_bash", COMP_WORDS="pf in", COMP_CWORD="1")

    assert "inspect" in result.stdout


def test_what_is_exported_is_there() -> None:
    assert sorted(penguiflow_cli.__all__) == ["app", "main"]


def test_it_runs_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "from penguiflow_cli import main; main()", "viz", "nowhere:flow"]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "there is no module 'nowhere'" in done.stderr
