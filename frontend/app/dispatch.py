"""One request's way: route, checks, model, pipeline; and whatever goes wrong on it, told to the client."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api
from frontend.app.admission import Admission
from frontend.app.asking import call_of
from frontend.app.keepalive import KeepAlive
from frontend.app.problems import answer, cause_of, last_events
from frontend.app.routes import Found, Inference, Routes
from frontend.config.model import HttpConfig
from frontend.errors import CLIENT_GONE_STATUS, ApiError
from frontend.http.api import Reply, Request, whole
from frontend.outgoing import REQUEST_ID, Outgoing
from frontend.pipeline.call import Call
from frontend.visit import Observer, Visit

_log = logging.getLogger(__name__)
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What a page says."""

    body: bytes
    content_type: str = _JSON
    status: int = 200
    headers: HeaderPairs = ()


PageHandler: TypeAlias = Callable[[Request, str], Awaitable["PageAnswer | Inference"]]
"""Given the request and the model of its path; an :class:`Inference` in return passes the request on to a
worker, as that endpoint. Raises ApiError."""


class Dispatcher:
    """The handler of the HTTP server."""

    def __init__(
        self,
        config: HttpConfig,
        routes: Routes,
        pages: Mapping[str, PageHandler],
        admission: Admission,
        pipeline: Callable[[Call, Reply], Awaitable[None]],
        observer: Observer,
        *,
        nvext: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._routes = routes
        self._pages = pages
        self._admission = admission
        self._pipeline = pipeline
        self._observer = observer
        self._nvext = nvext
        self._clock = clock

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Serve one request. Cancelled when its client leaves."""
        visit = Visit(request, Outgoing(reply, request.headers.get(REQUEST_ID)))
        try:
            await self._serve(visit)
        except ApiError as error:
            self._fail(visit, error)
        except asyncio.CancelledError:
            visit.status = CLIENT_GONE_STATUS
            raise
        except Exception:  # noqa: BLE001 -- a defect of ours: a sentence for the client, the rest is logged
            _log.exception("request failed", extra={"path": request.path})
            self._fail(visit, ApiError(500, "Internal server error"))
        finally:
            visit.status = visit.status or visit.out.status
            visit.error_type = visit.error_type or cause_of(visit.status)
            visit.ended_s = self._clock()
            self._observer.ended(visit)

    async def _serve(self, visit: Visit) -> None:
        request = visit.request
        found = self._routes.find(request.method, request.path)
        visit.endpoint = found.endpoint.name
        if isinstance(found.endpoint, Inference):
            await self._infer(visit, found.endpoint)
            return
        said = await self._page(visit, found)
        if isinstance(said, Inference):
            await self._infer(visit, said)
            return
        whole(visit.out, said.status, (("content-type", said.content_type), *said.headers), said.body)

    async def _page(self, visit: Visit, found: Found) -> PageAnswer | Inference:
        return await self._pages[found.endpoint.name](visit.request, found.model)

    async def _infer(self, visit: Visit, endpoint: Inference) -> None:
        visit.api = endpoint.api
        call = visit.call = call_of(visit.request, endpoint, nvext=self._nvext)
        if endpoint.of_a_model or call.model:
            await self._admission.admit(call)
        reply = self._observer.begun(visit, visit.out)
        interval_s = self._config.sse_keep_alive_s
        if not (call.stream and interval_s):
            await self._pipeline(call, reply)
            return
        kept = KeepAlive(reply, visit.out, interval_s, self._clock)
        try:
            await self._pipeline(call, kept)
        finally:
            kept.close()

    def _fail(self, visit: Visit, error: ApiError) -> None:
        out = visit.out
        visit.error_type = cause_of(error.status, error)
        if not out.started:
            answer(out, self._hinted(error), visit.api)
            return
        visit.status = error.status
        if out.ended:
            return
        if out.is_events and out.between_events:
            out.data(last_events(error, visit.api or Api.OTHER))
            out.end()
        # otherwise the server cuts the connection: a broken answer must not look like a short one

    def _hinted(self, error: ApiError) -> ApiError:
        """Overloaded clients are told when to come back."""
        wait_s = self._config.retry_after_s
        overloaded = error.status in (429, self._config.overload_status)
        if overloaded and wait_s and not any(name == "retry-after" for name, _ in error.headers):
            error.headers = (*error.headers, ("retry-after", str(wait_s)))
        return error
