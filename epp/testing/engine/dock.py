"""Where one engine gives and takes computed prompts: its shelf, its way to other engines, its contract."""

import uuid
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.disagg import (
    LEASE_S,
    WAIT_S,
    BootstrapHandover,
    ContextHandover,
    Handover,
    NixlHandover,
    Puller,
)
from epp.testing.engine.shelf import Shelf


class Dock:
    """One engine's. ``shelf`` counts what was parked, taken, and never asked for. Raises ValueError."""

    def __init__(self, engine: str, role: str, name: str, port: int, config: EngineConfig) -> None:
        if engine not in KINDS:
            raise ValueError(f"{engine} is none of {', '.join(KINDS)}")
        self.name, self.role, self.port, self.config = name, role, port, config
        self.shelf = Shelf(LEASE_S)
        self.puller = Puller()
        self.handover: Handover = _CONTRACTS[engine](self)

    def routes(self) -> list[web.RouteDef]:
        """What other engines call."""
        return [web.post("/sim/kv/{key}", self._take)]

    async def close(self, _: web.Application) -> None:
        """Close connections to other engines."""
        await self.puller.close()

    async def _take(self, request: web.Request) -> web.Response:
        try:
            wait_s = min(WAIT_S, float(request.query.get("wait_s", "0")))
        except ValueError:
            return web.Response(status=400)
        parked = await self.shelf.take(request.match_info["key"], wait_s)
        if parked is None:
            return web.Response(status=404)
        return web.Response(body=msgspec.json.encode(parked), content_type="application/json")


_Maker: TypeAlias = Callable[[Dock], Handover]


def _nixl(dock: Dock) -> Handover:
    engine_id = str(uuid.uuid5(uuid.NAMESPACE_OID, dock.name))
    return NixlHandover(engine_id, dock.port, dock.config.block_tokens, dock.shelf, dock.puller)


def _bootstrap(dock: Dock) -> Handover:
    return BootstrapHandover(dock.role, dock.config.dp_size, dock.shelf, dock.puller)


def _context(dock: Dock) -> Handover:
    return ContextHandover(dock.port, dock.shelf, dock.puller)


_CONTRACTS: Final = MappingProxyType[str, _Maker]({"vllm": _nixl, "sglang": _bootstrap, "trtllm": _context})
KINDS: Final = tuple(_CONTRACTS)
"""Engines whose contracts are known."""
