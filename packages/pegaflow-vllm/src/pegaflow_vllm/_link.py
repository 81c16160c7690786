"""The connection to the sidecar, which may end at any time and comes back by itself."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pegaflow
from pegaflow import BlockCache, PegaEngine, PegaError
from pegaflow_vllm._settings import Settings

_log = logging.getLogger("vllm.pegaflow")

_MOST_DEFAULT_BYTES = 16 << 30
_ARENA_SHARE = 4

T = TypeVar("T")


class Session:
    """One connection, and the namespaces opened on it."""

    def __init__(self, engine: PegaEngine) -> None:
        self.engine = engine
        self._caches: dict[str, BlockCache] = {}
        self._lock = threading.Lock()

    def cache(self, namespace: str) -> BlockCache:
        """Give the blocks of a namespace."""
        with self._lock:
            cache = self._caches.get(namespace)
            if cache is None:
                cache = self._caches[namespace] = BlockCache(self.engine, namespace)
            return cache


class Link:
    """The sidecar, as long as it is there. Every method may be called from any thread.

    A call that fails ends the connection, is logged once, and lets a thread of this object look for the sidecar until
    it is found: one that was started anew has a new arena and, if it has a directory, the blocks of the old one.
    """

    def __init__(self, settings: Settings, *, reply_timeout_s: float) -> None:
        self._settings = settings
        self._reply_timeout_s = reply_timeout_s
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._closed = threading.Event()
        self._seeker: threading.Thread | None = None
        self.disconnects = 0
        """How often the connection was lost."""

    def open(self) -> None:
        """Connect for the first time. A sidecar that is not there is looked for in the background.

        Raises:
            PegaError: Settings that no sidecar can have, or not the running one.
        """
        try:
            self._session = self._connect()
        except (pegaflow.DisconnectedError, pegaflow.SidecarStartError, pegaflow.TimedOutError) as error:
            self._lost(error)

    @property
    def session(self) -> Session | None:
        """The connection, or None while there is no sidecar."""
        return self._session

    def call(self, operation: Callable[[Session], T], default: T) -> T:
        """Do something with the sidecar, or give `default` if it is not there or does not answer."""
        session = self._session
        if session is None:
            return default
        try:
            return operation(session)
        except PegaError as error:
            self.failed(session, error)
            return default

    def failed(self, session: Session, error: PegaError) -> None:
        """Take note that an operation failed, and end the connection if it is of no more use."""
        kinds = (pegaflow.DisconnectedError, pegaflow.TimedOutError, pegaflow.ProtocolError, pegaflow.ClosedError)
        if not isinstance(error, kinds):
            _log.debug("the sidecar refused: %s", error)
            return
        with self._lock:
            if self._session is not session:
                return
            self._session = None
        session.engine.close()
        self._lost(error)

    def close(self) -> None:
        """End the connection for good."""
        self._closed.set()
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.engine.close()
        seeker = self._seeker
        if seeker is not None and seeker is not threading.current_thread():
            seeker.join(self._settings.reconnect_s + self._reply_timeout_s)

    def _lost(self, error: PegaError) -> None:
        self.disconnects += 1
        if self._closed.is_set():
            return
        _log.warning("pegaflow: serving without the sidecar until it is back: %s", error)
        self._seeker = threading.Thread(target=self._seek, name="pegaflow-reconnect", daemon=True)
        self._seeker.start()

    def _seek(self) -> None:
        said = ""
        while not self._closed.wait(self._settings.reconnect_s):
            try:
                session = self._connect()
            except (pegaflow.DisconnectedError, pegaflow.TimedOutError) as error:
                _log.debug("the sidecar is not back: %s", error)
                continue
            except (PegaError, OSError) as error:
                # Such as other settings than before: somebody has to see to it.
                if str(error) != said:
                    said = str(error)
                    _log.error("pegaflow: the sidecar cannot be used: %s", error)
                continue
            with self._lock:
                if not self._closed.is_set():
                    self._session = session
                    _log.warning("pegaflow: the sidecar is back")
                    return
            session.engine.close()

    def _connect(self) -> Session:
        settings = self._settings
        if settings.socket is not None:
            return Session(pegaflow.connect(settings.socket, reply_timeout_s=self._reply_timeout_s))
        if settings.memory is not None:
            return Session(self._connect_to(None, settings.memory))
        try:
            return Session(self._connect_to(default_socket(), None))
        except pegaflow.DisconnectedError:
            return Session(self._connect_to(None, default_memory_bytes()))

    def _connect_to(self, path: Path | None, memory_bytes: int | None) -> PegaEngine:
        settings = self._settings
        return pegaflow.connect(
            path,
            memory_bytes=memory_bytes,
            disk_path=settings.disk,
            disk_bytes=settings.disk_size,
            policy=settings.policy,
            # A cache gives up the oldest when it is full.
            on_full=None if settings.disk is None else "evict",
            reply_timeout_s=self._reply_timeout_s,
        )


def default_memory_bytes() -> int:
    """Give the size of the arena that a sidecar is started with: a share of the memory of the machine."""
    total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(total_bytes // _ARENA_SHARE >> 20 << 20, _MOST_DEFAULT_BYTES)


def default_socket() -> Path:
    """Give where the sidecar of this user listens."""
    from pegaflow._location import default_socket as located

    return located()
