"""Runs the example, and calls it while it serves."""

import subprocess
from collections.abc import Callable

import httpx


def test_the_agent_asks_and_is_answered(run_example: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ran = run_example("a2a_server")

    assert ran.returncode == 0, ran.stderr
    card, asked, done = ran.stdout.splitlines()
    assert card.startswith("Fishmonger: ")
    assert asked == "TASK_STATE_INPUT_REQUIRED Which fish? There is herring, krill, squid."
    assert done.startswith("TASK_STATE_COMPLETED [{'text': 'herring: 3")
    assert "'total': 6" in done


def test_the_agent_serves_until_it_is_stopped(start_example: Callable[..., subprocess.Popen[str]]) -> None:
    with httpx.Client(trust_env=False) as client:
        process = start_example("a2a_server", "--port", "0")
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("serving at ").strip()
        message = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "krill"}]}
        body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}

        task = client.post(url, json=body).json()["result"]

    assert task["artifacts"][-1]["parts"][0]["data"]["total"] == 1
