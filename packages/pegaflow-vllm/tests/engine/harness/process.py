"""The test's side of an engine: starts its process, asks it, kills it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from harness.served import Kill, Options, Report, ServedEngine, serve
from harness.workload import Ask

PATIENCE_S = 3600.0
"""For one order; the time-out of the test comes first."""

P = ParamSpec("P")
T = TypeVar("T")

_forks = multiprocessing.get_context("forkserver")
# Importing vLLM takes a quarter of a minute: the server that engines are forked from does it once.
_forks.set_forkserver_preload(["vllm.v1.engine.llm_engine", "vllm.engine.arg_utils", "vllm.v1.worker.cpu_worker"])

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_LOGGING_LEVEL=os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
    # Block names must not hang on it: each engine gets another.
    PYTHONHASHSEED="random",
    HF_HUB_OFFLINE="1",
)


class EngineError(Exception):
    """The engine did not start, or did not do as it was told; the message is what it said."""


class Engine:
    """An engine in a process of its own: starts when made, ends with the `with` block."""

    def __init__(self, options: Options, *, wait: bool = True) -> None:
        self._pipe, theirs = _forks.Pipe()
        # An engine of several ranks has children of its own, which a daemon must not have.
        is_alone = "distributed_executor_backend" not in options.more
        self._process = _forks.Process(target=serve, args=(options, theirs), daemon=is_alone)
        self._process.start()
        theirs.close()
        self._has_started = False
        if wait:
            self.wait_for_start()

    def wait_for_start(self) -> None:
        """Wait until it can be asked."""
        if not self._has_started:
            self._outcome()
            self._has_started = True

    def run(self, asks: Sequence[Ask], concurrency: int = 24, kills: Sequence[Kill] = ()) -> Report:
        """Have everything answered."""
        return self.call(ServedEngine.run, asks, concurrency, kills)

    def call(self, act: Callable[Concatenate[ServedEngine, P], T], *arguments: P.args, **_: P.kwargs) -> T:
        """Apply a function to the engine, in its process."""
        self.begin(act, *arguments)
        return self.end()  # type: ignore[no-any-return]

    def begin(self, act: Callable[..., object], *arguments: object) -> None:
        """Have a function applied, and do not wait for it."""
        self._pipe.send((act, arguments))

    def end(self) -> Any:
        """Wait for what was begun."""
        return self._outcome()

    def kill(self) -> None:
        """End it by SIGKILL, whatever it does."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """End it in order, or by force when it does not end."""
        if self._process.is_alive():
            with contextlib.suppress(OSError):
                self._pipe.send(None)
            self._process.join(20)
        self.kill()
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _outcome(self) -> Any:
        if not self._pipe.poll(PATIENCE_S):
            self.kill()
            raise EngineError(f"no answer within {PATIENCE_S:g} s")
        try:
            is_done, result = self._pipe.recv()
        except EOFError:
            raise EngineError("its process ended") from None
        if not is_done:
            raise EngineError(result)
        return result
