"""HTTP on the metrics port: ``/metrics``, ``/debug/picks``, ``/debug/explain``, ``/debug/workers``.

The standard library's threading server carries it: this port sees a scrape every few seconds and a
person now and then, and a slow reader must not hold the event loop. Handlers run in threads; whatever
touches the picker's state is asked of the event loop, with a deadline.
"""

import asyncio
import http.server
import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import orjson

_log = logging.getLogger(__name__)

_ANSWER_TIMEOUT_S = 10.0
"""How long a handler waits for the event loop."""
_SOCKET_TIMEOUT_S = 30.0
"""An idle or stuck client is dropped after this long."""
_POLL_S = 0.05
"""How soon the accepting thread sees that it shall stop."""
_MAX_HANDLERS = 16
"""Connections served at once; more wait in the listen backlog."""
_MAX_BODY_BYTES = 64 * 1024 * 1024

_T = TypeVar("_T")


class Inspector(Protocol):
    """What this door shows; called on the event loop unless said otherwise."""

    async def refresh(self) -> None:
        """Sample what the metrics page shows of the present state."""
        ...

    def metrics_page(self) -> bytes:
        """The Prometheus text page; called from a handler thread, after :meth:`refresh`."""
        ...

    async def recent_picks(self, limit: int, request_id: str | None) -> list[dict[str, Any]]:
        """The last decisions, newest first."""
        ...

    async def explain(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """What would be chosen for this request now, and every candidate's terms; books nothing."""
        ...

    async def workers(self) -> dict[str, Any]:
        """Endpoints, loads, event streams and index sizes."""
        ...

    async def readiness(self) -> dict[str, Any]:
        """``ready`` and the state of each part."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytes


def _json(status: int, value: object) -> _Answer:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
    return _Answer(status, "application/json", body + b"\n")


class AdminServer:
    """Serves an :class:`Inspector` over HTTP; owns its threads."""

    def __init__(self, inspector: Inspector, address: str, port: int) -> None:
        self._inspector = inspector
        self._loop = asyncio.get_running_loop()
        self._server = _BoundedServer((address, port), self._handler_class())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="admin", daemon=True
        )

    @property
    def port(self) -> int:
        """The port bound."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin serving."""
        self._thread.start()

    async def stop(self) -> None:
        """Stop serving and close the port; safe if it was never started."""
        if self._thread.is_alive():
            await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()

    def _on_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work`` on the event loop; raises TimeoutError when the loop is too busy."""
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(_ANSWER_TIMEOUT_S)
        finally:
            asked.cancel()

    def _get(self, target: str) -> _Answer:
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/metrics":
            self._on_loop(self._inspector.refresh())
            page = self._inspector.metrics_page()
            return _Answer(200, "text/plain; version=0.0.4; charset=utf-8", page)
        if url.path == "/debug/picks":
            limit = _bounded_int(query.get("n"), default=20, most=10_000)
            return _json(200, self._on_loop(self._inspector.recent_picks(limit, query.get("request_id"))))
        if url.path == "/debug/workers":
            return _json(200, self._on_loop(self._inspector.workers()))
        if url.path in ("/healthz", "/readyz"):
            facts = self._on_loop(self._inspector.readiness())
            good = url.path == "/healthz" or facts["ready"]
            return _json(200 if good else 503, facts)
        return _json(404, {"error": f"no such page: {url.path}", "pages": _PAGES})

    def _post(self, target: str, headers: dict[str, str], body: bytes) -> _Answer:
        url = urlsplit(target)
        if url.path != "/debug/explain":
            return _json(404, {"error": f"no such page: {url.path}", "pages": _PAGES})
        query = parse_qs(url.query)
        path = query.get("path", ["/v1/chat/completions"])[-1]
        facts = self._on_loop(self._inspector.explain(path, headers, body))
        return _json(int(facts.get("status", 200)), facts)

    def _handler_class(self) -> type[http.server.BaseHTTPRequestHandler]:
        admin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version = "epp"
            sys_version = ""
            timeout = _SOCKET_TIMEOUT_S

            def do_GET(self) -> None:
                self._answer(lambda: admin._get(self.path))

            def do_POST(self) -> None:
                length = _bounded_int(self.headers.get("content-length"), default=-1, most=2**62)
                if not 0 <= length <= _MAX_BODY_BYTES:
                    self.close_connection = True
                    self._send(_json(413 if length > 0 else 411, {"error": "send a body with its length"}))
                    return
                body = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._answer(lambda: admin._post(self.path, headers, body))

            def _answer(self, work: Callable[[], _Answer]) -> None:
                try:
                    answer = work()
                except TimeoutError:
                    answer = _json(503, {"error": "the picker is too busy to answer"})
                except Exception as error:  # noqa: BLE001 -- a page that fails answers 500 and is logged
                    _log.exception("admin page failed", extra={"path": self.path})
                    answer = _json(500, {"error": str(error)})
                self._send(answer)

            def _send(self, answer: _Answer) -> None:
                self.send_response(answer.status)
                self.send_header("content-type", answer.content_type)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- inherited name
                _log.debug(format, *args)

        return Handler


_PAGES = ["/metrics", "/debug/picks?n=20", "/debug/workers", "/debug/explain (POST)", "/healthz", "/readyz"]


def _bounded_int(text: str | None, *, default: int, most: int) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        return default
    return min(int(text[:20]), most)


class _BoundedServer(http.server.ThreadingHTTPServer):
    """Serves at most :data:`_MAX_HANDLERS` connections at once; IPv6 addresses too."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(_MAX_HANDLERS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(timeout=_ANSWER_TIMEOUT_S):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 -- inherited
        _log.debug("admin connection failed", exc_info=True)
