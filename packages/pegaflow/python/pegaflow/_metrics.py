"""Prometheus text on a loopback port, for who asked for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar, Protocol

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsSource(Protocol):
    """What has figures to show."""

    def prometheus(self) -> str:
        """Give the figures in the text format of Prometheus."""
        ...


class _Handler(BaseHTTPRequestHandler):
    source: ClassVar[MetricsSource]
    # A scraper that stops in the middle of a request keeps its thread no longer than this.
    timeout = 10
    server_version = "pegaflow"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "the figures are at /metrics")
            return
        body = self.source.prometheus().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        pass


@contextmanager
def serve_metrics(port: int | None, source: MetricsSource) -> Iterator[int | None]:
    """Serve `source` at `/metrics` on 127.0.0.1 while the context lasts; give the port, or None for none."""
    if port is None:
        yield None
        return
    handler = type("_Handler", (_Handler,), {"source": source})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, name="pega-metrics", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
