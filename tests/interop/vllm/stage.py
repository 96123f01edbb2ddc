"""The whole path for a test: a client, a real Envoy, the picker as users start it, real engines behind."""

import asyncio
import itertools
import json
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import EnvoyOptions
from epp.testing.load.client import HttpClient
from epp.testing.process import ChildProcess

from .exchange import Asked, Exchange
from .server import BLOCK_TOKENS, VllmServer

_DEADLINE_S = 30.0
_POLL_S = 0.02
_PAGE_S = 10.0


class Stage:
    """What a test drives and reads."""

    def __init__(self, picker: ChildProcess, envoy: EnvoyProcess, servers: Sequence[VllmServer]) -> None:
        self.picker = picker
        self.envoy = envoy
        self.servers = servers
        self._client = HttpClient("127.0.0.1", envoy.port)
        self._ids = itertools.count()

    async def close(self) -> None:
        await self._client.close()

    # --- the client's side -----------------------------------------------------------------------------

    async def ask(self, path: str, body: dict[str, Any]) -> Asked:
        """Send a request through Envoy; it must succeed."""
        body = {"model": "m", "max_tokens": 1, **body}
        if body.get("stream"):
            body["stream_options"] = {"include_usage": True}
        request_id = f"ask-{id(self):x}-{next(self._ids)}"
        request = self._client.request(path, json.dumps(body).encode(), {"x-request-id": request_id})
        exchange = Exchange(asyncio.get_running_loop().time(), bool(body.get("stream")))
        await self._client.post(request, exchange)  # type: ignore[arg-type]  # quacks like a meter
        assert exchange.response.status == 200, exchange.body
        return Asked(exchange, await self.pick_of(request_id))

    async def complete(self, prompt: str | list[int], **more: Any) -> Asked:
        return await self.ask("/v1/completions", {"prompt": prompt, **more})

    async def chat(self, messages: Sequence[dict[str, Any]], **more: Any) -> Asked:
        return await self.ask("/v1/chat/completions", {"messages": list(messages), **more})

    # --- the picker's side -----------------------------------------------------------------------------

    async def pick_of(self, request_id: str) -> dict[str, Any]:
        """The decision of a request once its stream has ended."""
        found: list[dict[str, Any]] = []

        async def ended() -> bool:
            found[:] = await self.page(f"/debug/picks?request_id={request_id}")
            return bool(found) and found[0]["ended"] is not None

        await eventually(ended, f"the stream of {request_id} ended")
        return found[0]

    async def resident(self, prompt: str | list[int], **more: Any) -> dict[str, int]:
        """Cached tokens of a prompt by worker name, as the picker's view has it now."""
        body = json.dumps({"model": "m", "prompt": prompt, **more}).encode()
        page = await self.page("/debug/explain?path=/v1/completions", body)
        return {row["name"]: row["cached_tokens"] for row in page["candidates"]}

    async def settled(self, server: str, prompt: list[int], **more: Any) -> None:
        """Wait until the view has every full block of a prompt that ``server`` just computed."""
        full = len(prompt) // BLOCK_TOKENS * BLOCK_TOKENS

        async def known() -> bool:
            # one more token, for the last one's block is never promised
            return (await self.resident([*prompt, 0], **more))[server] == full

        await eventually(known, f"{full} tokens resident on {server}")

    async def workers(self) -> dict[str, dict[str, Any]]:
        """Rows of /debug/workers by name."""
        return {row["name"]: row for row in (await self.page("/debug/workers"))["workers"]}

    async def bookings(self) -> int:
        return int((await self.page("/debug/workers"))["index"]["bookings"])

    async def samples(self, family: str) -> dict[str, float]:
        """Samples of one metric family of the picker: label text → value."""
        text = (await asyncio.to_thread(_read, f"{self._admin}/metrics", None)).decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(family))
        return {name.removeprefix(family): float(value) for name, _, value in lines}

    async def applied(self) -> dict[str, dict[str, int]]:
        """Blocks the picker took from events (``ok``) and left out (``ignored``), by kind; zeros left out."""
        counts: dict[str, dict[str, int]] = {"ok": {}, "ignored": {}}
        for labels, count in (await self.samples("dynamo_component_kv_cache_events_applied_total")).items():
            kind, status = (part.split('"')[1] for part in labels.split(","))
            if count:
                counts[status][kind] = int(count)
        return counts

    async def page(self, path: str, body: bytes | None = None) -> Any:
        return json.loads(await asyncio.to_thread(_read, self._admin + path, body))

    @property
    def _admin(self) -> str:
        return f"http://127.0.0.1:{self.picker.ready['metrics_port']}"


@asynccontextmanager
async def staged(
    folder: Path, model: Path, servers: Sequence[VllmServer], *, policy: str = "kv", flags: Sequence[str] = ()
) -> AsyncGenerator[Stage]:
    """A new picker and a new Envoy before engines that may have served others: it joins late."""
    endpoints = folder / "endpoints.yaml"
    endpoints.write_text(json.dumps({"endpoints": [server.endpoint() for server in servers]}))
    argv: list[str | Path] = [
        *(sys.executable, "-m", "epp", "serve", "--secure-serving=false", "--policy", policy),
        *("--endpoints-file", endpoints, "--model-path", model, "--model-name", "m"),
        *("--grpc-port", "0", "--grpc-health-port", "0", "--metrics-port", "0"),
        *flags,
    ]
    async with ChildProcess("picker", argv, folder / "picker.log") as picker:
        options = EnvoyOptions(pickers=[int(picker.ready["grpc_port"])])
        async with EnvoyProcess(options) as envoy:
            stage = Stage(picker, envoy, servers)
            try:
                await _ready(stage)
                yield stage
            finally:
                await stage.close()


async def _ready(stage: Stage) -> None:
    """Every part is up, every engine is heard and its past replayed."""

    async def ready() -> bool:
        parts = (await stage.page("/readyz"))["parts"]
        replays = await stage.samples("epp_kv_event_replays_total")
        ended = sum(count for labels, count in replays.items() if "asked" not in labels)
        return set(parts.values()) == {"ok"} and ended >= len(stage.servers)

    await eventually(ready, "the picker is ready and its replays ended")


async def eventually(condition: Callable[[], Any], what: str, deadline_s: float = _DEADLINE_S) -> None:
    """Poll an async condition until it holds."""
    try:
        async with asyncio.timeout(deadline_s):
            while not await condition():
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise AssertionError(f"not within {deadline_s:g} s: {what}") from None


def _read(url: str, body: bytes | None) -> bytes:
    headers = {"content-type": "application/json"} if body is not None else {}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=_PAGE_S) as page:
            content: bytes = page.read()
    except urllib.error.HTTPError as error:
        return error.read()
    return content
