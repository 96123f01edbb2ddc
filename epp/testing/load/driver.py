"""A plan in real time: sends what is due, measures it, and always ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from epp.testing.load.client import HttpClient
from epp.testing.load.http1 import ResponseError
from epp.testing.load.meter import StreamMeter
from epp.testing.load.outcome import Outcome
from epp.testing.load.plan import LoadPlan, PlannedRequest
from epp.testing.load.run import LoadRun, Message


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes."""

    host: str
    port: int
    model: str
    path: str = "/v1/chat/completions"


Progress = Callable[[int, int], None]
"""Called with (requests ended, requests in the plan)."""


async def drive(
    plan: LoadPlan, target: Target, *, deadline_s: float, progress: Progress | None = None
) -> list[Outcome]:
    """Run the whole plan; what is unfinished ``deadline_s`` seconds after the start fails as such.

    Returns one outcome per request that was due by then, in order of completion.
    """
    driver = _Driver(plan, target, progress)
    try:
        await driver.run(deadline_s)
    finally:
        await driver.close()
    return driver.outcomes


class _Driver:
    def __init__(self, plan: LoadPlan, target: Target, progress: Progress | None) -> None:
        self.outcomes: list[Outcome] = []
        self._run = LoadRun(plan)
        self._target = target
        self._client = HttpClient(target.host, target.port)
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._changed = asyncio.Event()

    async def run(self, deadline_s: float) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = await self._start_all(group, deadline_s)
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        await self._client.close()

    async def _start_all(self, group: asyncio.TaskGroup, deadline_s: float) -> "list[asyncio.Task[None]]":
        tasks: list[asyncio.Task[None]] = []
        while not self._run.done and self._now_s() < deadline_s:
            self._changed.clear()
            tasks += [group.create_task(self._one(request)) for request in self._run.due(self._now_s())]
            at_s = self._run.next_at_s
            await self._pause(deadline_s if at_s is None else min(at_s, deadline_s))
        return tasks

    async def _pause(self, until_s: float) -> None:
        """Wait for the time, or for something to end."""
        try:
            async with asyncio.timeout(max(0.0, until_s - self._now_s())):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _one(self, request: PlannedRequest) -> None:
        meter = StreamMeter(self._now_s())
        body = self._body(request, self._run.messages(request))
        error = "unfinished at the deadline"
        try:
            await self._client.post(self._client.request(self._target.path, body), meter)
            error = meter.error()
        except (OSError, ResponseError) as failure:
            error = str(failure) or type(failure).__name__
        finally:
            self._ended(request, meter, error)

    def _body(self, request: PlannedRequest, messages: list[Message]) -> bytes:
        return msgspec.json.encode(
            {
                "model": self._target.model,
                "messages": messages,
                "max_tokens": request.max_tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )

    def _ended(self, request: PlannedRequest, meter: StreamMeter, error: str) -> None:
        now_s = self._now_s()
        first_s = meter.first_text_s
        self.outcomes.append(
            Outcome(
                index=request.index,
                kind=request.kind,
                sent_s=meter.sent_s,
                latency_s=now_s - meter.sent_s,
                ttft_s=None if first_s is None else first_s - self._started_s - meter.sent_s,
                status=meter.response.status,
                error=error,
                prompt_tokens=meter.usage.prompt_tokens,
                cached_tokens=meter.cached_tokens,
                completion_tokens=meter.usage.completion_tokens,
                served_by=meter.response.headers.get("x-served-by", ""),
                answer=meter.text,
            )
        )
        self._run.finished(request, meter.text, now_s)
        self._changed.set()
        if self._progress is not None:
            self._progress(self._run.ended, self._run.total)

    def _now_s(self) -> float:
        return self._loop.time() - self._started_s
