"""A sidecar in a process of its own, and what can be done to it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pegaflow

START_S = 20.0
SETTLED_S = 5.0


class Sidecar:
    """`python -m pegaflow serve`, which ends with the `with` block. Its blocks are on disk when it has a directory."""

    def __init__(self, directory: Path, *, memory: str = "64MiB", disk: str | None = "1GiB") -> None:
        self.socket = directory / "sidecar.sock"
        self.disk = directory / "blocks"
        self._command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(self.socket), "--memory", memory]
        if disk is not None:
            self._command += ["--disk", f"{self.disk}:{disk}", "--on-full", "evict", "--durability", "sync"]
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("serving"), line

    def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        """End it by SIGTERM, which writes everything to disk."""
        assert self._process is not None
        self._process.terminate()
        self._process.communicate(timeout=START_S)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def wait(self) -> None:
        """Wait until somebody has killed it."""
        assert self._process is not None
        self._process.communicate()

    def leases(self) -> int:
        """Count the leases that are held, once the connections of those who died are closed."""
        end = time.monotonic() + SETTLED_S
        while (held := self.figures()["leases"]) and time.monotonic() < end:
            time.sleep(0.02)
        return held

    def figures(self) -> dict[str, int]:
        """Give what it counts."""
        with pegaflow.connect(self.socket) as engine:
            return engine.stats()

    def connector(self, **extra: object) -> dict[str, Any]:
        """Give the arguments of vLLM's `KVTransferConfig` that have an engine use it."""
        return {
            "kv_connector": "PegaKVConnector",
            "kv_connector_module_path": "pegaflow_vllm",
            "kv_role": "kv_both",
            "kv_connector_extra_config": {"socket": str(self.socket), "break_even": 0, **extra},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
