"""One engine in real time: its ranks stepped by the event loop, tokens to waiting handlers, events to ZMQ."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.events import encode_batch
from epp.testing.engine.metrics import Finished, RankMetrics, render_page
from epp.testing.engine.publisher import Publisher
from epp.testing.engine.sequence import GenerationRequest
from epp.testing.engine.sim import Emitted, SimEngine, StepResult


@dataclass(slots=True)
class _Listener:
    queue: "asyncio.Queue[Emitted]"
    """Bounded by the answer's length: each token is put in once."""
    prompt_tokens: int
    ttft_s: float = 0.0


class RankRunner:
    """Steps one rank. Must be used from the event loop it was made in."""

    def __init__(self, config: EngineConfig, rank: int, publisher: Publisher | None) -> None:
        self.engine = SimEngine(config)
        self.metrics = RankMetrics(config, rank)
        self._rank = rank
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[str, _Listener] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Emitted, None]:
        """Tokens as they are produced. Leaving early (the client went away) aborts the sequence."""
        listener = _Listener(asyncio.Queue(), len(request.prompt))
        self._listeners[request.request_id] = listener
        try:
            self.engine.submit(request, self._loop.time())
            self._wake()
            while True:
                token = await listener.queue.get()
                yield token
                if token.finish_reason is not None:
                    return
        finally:
            del self._listeners[request.request_id]
            self.engine.abort(request.request_id)

    def stop(self) -> None:
        """Step no more; handlers still waiting are cancelled by their server."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        at_s = self.engine.next_at_s
        if self._timer is None and at_s is not None:
            self._timer = self._loop.call_at(at_s, self._run)

    def _run(self) -> None:
        self._timer = None
        for result in self.engine.advance(self._loop.time()):
            self._publish(result)
            self._deliver(result)
        self._wake()

    def _publish(self, result: StepResult) -> None:
        if result.events and self._publisher is not None:
            self._publisher.publish(encode_batch(time.time(), result.events, self._rank))

    def _deliver(self, result: StepResult) -> None:
        self.metrics.iteration.observe(len(result.tokens))
        for token in result.tokens:
            listener = self._listeners.get(token.request_id)
            if listener is None:
                continue
            listener.queue.put_nowait(token)
            self._observe(token, listener)

    def _observe(self, token: Emitted, listener: _Listener) -> None:
        if not token.index:
            listener.ttft_s = token.waited_s
            self.metrics.ttft.observe(token.waited_s)
        if token.finish_reason is not None:
            self.metrics.finished(
                Finished(token.waited_s, listener.ttft_s, listener.prompt_tokens, token.index + 1)
            )


class EngineRunner:
    """All ranks of one engine, and who serves the next request."""

    def __init__(self, config: EngineConfig, publishers: "tuple[Publisher, ...]" = ()) -> None:
        self.config = config
        self._ranks = [
            RankRunner(config, rank, publishers[rank] if publishers else None)
            for rank in range(config.dp_size)
        ]

    def rank(self, wanted: int | None) -> RankRunner:
        """The rank asked for, else the least loaded one. Raises IndexError."""
        if wanted is None:
            return min(self._ranks, key=lambda rank: rank.engine.running + rank.engine.waiting)
        if not 0 <= wanted < len(self._ranks):
            raise IndexError(f"data-parallel rank {wanted} of {len(self._ranks)}")
        return self._ranks[wanted]

    def reset_prefix_cache(self) -> bool:
        """Empty every rank's cache; False if any was in use."""
        done = [
            rank.engine.reset_prefix_cache() for rank in self._ranks
        ]  # all of them, whatever the first says
        return all(done)

    def metrics_page(self) -> str:
        """The Prometheus page."""
        return render_page([(rank.metrics, rank.engine) for rank in self._ranks], time.time())

    def load(self) -> tuple[int, int]:
        """Requests running and waiting, ranks together."""
        return (
            sum(rank.engine.running for rank in self._ranks),
            sum(rank.engine.waiting for rank in self._ranks),
        )

    def stop(self) -> None:
        """Step no more."""
        for rank in self._ranks:
            rank.stop()
