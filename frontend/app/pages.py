"""The endpoints the frontend answers itself."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from epp import __version__
from epp.core.endpoints import PoolSnapshot
from epp.core.requests import Api
from frontend.app.dispatch import PageAnswer, PageHandler
from frontend.app.routes import Inference, Routes
from frontend.errors import ApiError, not_found
from frontend.http.api import Request
from frontend.serving import checks
from frontend.serving.busy import BusyThresholds
from frontend.serving.catalogue import Known, ModelCatalogue
from frontend.serving.health import LIVE, health
from frontend.serving.openapi import Operation, docs_page, document
from frontend.serving.readiness import readiness, report
from frontend.serving.tokens import TokenPages

_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
_TOKENIZE: Final = Inference(
    "tokenize", "", Api.TOKENIZE, "/tokenize", checks.ANY, any_type=True, of_a_model=False
)
_DETOKENIZE: Final = Inference(
    "detokenize", "", Api.OTHER, "/detokenize", checks.ANY, any_type=True, of_a_model=False
)


@dataclass(frozen=True, slots=True)
class PageParts:
    """What pages tell of."""

    routes: Routes
    catalogue: ModelCatalogue
    refresh_models: Callable[[], Awaitable[None]]
    snapshot: Callable[[], PoolSnapshot]
    draining: Callable[[], bool]
    metrics: Callable[[], Awaitable[bytes]]
    busy: BusyThresholds
    tokens: TokenPages
    route: Callable[[Request], Awaitable[tuple[int, Any]]]
    """Answers ``/v1/route``: status and body."""
    split: bool
    """Decode workers need prefill workers."""
    needs_tokenizer: bool = False
    """Without a model's tokenizer no request of it can be served."""


class Pages:
    """Handlers by the names of :class:`~frontend.app.routes.Page`."""

    def __init__(self, parts: PageParts) -> None:
        self._parts = parts
        self._document: dict[str, Any] | None = None

    def handlers(self) -> Mapping[str, PageHandler]:
        """The table the dispatcher looks in."""
        return {
            "models": self._models,
            "model": self._model,
            "model_ready": self._model_ready,
            "health": self._health,
            "live": self._live,
            "metrics": self._metrics,
            "openapi": self._openapi,
            "docs": self._docs,
            "busy_thresholds": self._busy_thresholds,
            "busy_threshold": self._busy_threshold,
            "tokenize": self._tokenize,
            "detokenize": self._detokenize,
            "route": self._route,
        }

    async def _models(self, _: Request, __: str) -> PageAnswer:
        return _json({"object": "list", "data": self._parts.catalogue.cards()})

    async def _model(self, _: Request, model: str) -> PageAnswer:
        for card in self._parts.catalogue.cards():
            if card["id"] == model:
                return _json(card)
        raise not_found("Model not found")

    async def _model_ready(self, _: Request, model: str) -> PageAnswer:
        catalogue = self._parts.catalogue
        if catalogue.known(model) is Known.NO:
            await self._parts.refresh_models()
            if catalogue.known(model) is Known.NO:
                raise not_found("Model not found")
        namespaces = readiness(catalogue.serving(model), split=self._parts.split)
        lacking = self._parts.tokens.lacking(model) if self._parts.needs_tokenizer else ""
        return _json(report(model, namespaces, lacking=lacking))

    async def _health(self, _: Request, __: str) -> PageAnswer:
        status, page = health(self._parts.snapshot(), draining=self._parts.draining())
        return _json(page, status)

    async def _live(self, _: Request, __: str) -> PageAnswer:
        return _json(LIVE)

    async def _metrics(self, _: Request, __: str) -> PageAnswer:
        return PageAnswer(await self._parts.metrics(), _PROMETHEUS)

    async def _openapi(self, _: Request, __: str) -> PageAnswer:
        return _json(self._described())

    async def _docs(self, _: Request, __: str) -> PageAnswer:
        return PageAnswer(docs_page(self._described()).encode(), "text/html; charset=utf-8")

    async def _busy_thresholds(self, _: Request, __: str) -> PageAnswer:
        return _json(self._parts.busy.listing())

    async def _busy_threshold(self, request: Request, _: str) -> PageAnswer:
        try:
            return _json(self._parts.busy.change(request.body))
        except ApiError as error:  # this page tells errors in a form of its own, which tools read
            told = {
                "error": error.message,
                "message": error.message,
                "type": error.type,
                "code": error.status,
            }
            return _json(told, error.status)

    async def _tokenize(self, request: Request, _: str) -> PageAnswer | Inference:
        said = await self._parts.tokens.tokenize(request.body)
        return _TOKENIZE if said is None else _json(said)

    async def _detokenize(self, request: Request, _: str) -> PageAnswer | Inference:
        said = await self._parts.tokens.detokenize(request.body)
        return _DETOKENIZE if said is None else _json(said)

    async def _route(self, request: Request, _: str) -> PageAnswer:
        status, said = await self._parts.route(request)
        return _json(said, status)

    def _described(self) -> dict[str, Any]:
        if self._document is None:
            self._document = document(_operations(self._parts.routes), __version__)
        return self._document


def _operations(routes: Routes) -> list[Operation]:
    found: list[Operation] = []
    for path, methods in routes.listed().items():
        for method, endpoint in methods.items():
            inference = isinstance(endpoint, Inference)
            rules = endpoint.rules if isinstance(endpoint, Inference) else checks.ANY
            found.append(
                Operation(
                    path, method, endpoint.name, endpoint.summary, inference, rules.required, rules.known
                )
            )
    return found


def _json(value: object, status: int = 200) -> PageAnswer:
    return PageAnswer(msgspec.json.encode(value), status=status)


async def metrics_page(refresh: Callable[[], Awaitable[None]], *pages: Callable[[], bytes]) -> bytes:
    """Several pages as one; each is made on a thread, for a page of many workers takes milliseconds."""
    await refresh()
    made = [await asyncio.to_thread(page) for page in pages]
    return b"".join(made)
