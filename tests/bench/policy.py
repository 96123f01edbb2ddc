"""Which policy starts requests fastest: traffic replayed in simulated time against a real router.

    python -m tests.bench.policy [--shape mixed|decode|bursts|unshared|agents | --trace FILE]
                                 [--workers 8 16] [--blocks 1000 8000] [--speeds equal unequal] …

Traffic is a trace file (``policy_traces``) or made up in one of a few shapes; the fleet is simulated
(``policy_engine``). The router learns only what a picker learns: bookings, events, and metrics pages read
every ``SCRAPE_S``. ``scorers`` is the profile of queue 2, kv-cache-utilization 2, prefix-cache 3; the
others are the router's own. Prints one JSON object per policy and scenario. Seeded: equal arguments print
equal lines.
"""

import argparse
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import Protocol

from epp.config.pickerconfig import default_picker_config
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.rng import SplitMix64
from epp.core.router import KvEvent, NoChoice, Policy, Router, RouterOptions, SelectRequest, WorkerSpec
from epp.core.scheduling.building import build_policy
from epp.core.scheduling.context import SchedulingContext, candidates_of
from epp.wire import kvevents
from tests.bench.policy_engine import DECODE_S_PER_TOKEN, Engine
from tests.bench.policy_traces import (
    BLOCK_TOKENS,
    SCALE,
    SHAPES,
    TRACE_BLOCK_TOKENS,
    Request,
    made_up,
    read_trace,
)

SCRAPE_S = 0.2
TOKENS_PER_S = 20_000
_PRIOR_TOKENS_PER_S = 8000
_LEASE_S = 1e6
_SCORERS = "scorers"
_POLICIES = (
    Policy.ROUND_ROBIN.value,
    Policy.LEAST_LOADED.value,
    _SCORERS,
    Policy.KV.value,
    Policy.TTFT.value,
)
_OTHERS = (Policy.RANDOM.value, Policy.POWER_OF_TWO.value)
_CORES: dict[str, Callable[[RouterOptions], Router]] = {
    "native": NativeRouter,
    "python": lambda options: ReferenceRouter(options, kvevents.decode),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fleet."""

    workers: int
    blocks: int
    """Cache of each worker in blocks of the trace; 0: unbounded and unknown."""
    unequal: bool
    """Every second worker computes prompts at half the speed."""
    events: bool
    """Whether the workers publish."""
    interference: float
    """See :class:`Engine`."""


class Chooser(Protocol):
    """Chooses and books."""

    def __call__(self, request: Request, now_s: float) -> WorkerRank: ...


class RouterChooser:
    """One of the router's own policies."""

    def __init__(self, router: Router, policy: Policy) -> None:
        self._router = router
        self._policy = policy

    def __call__(self, request: Request, now_s: float) -> WorkerRank:
        return _booked(self._router, _question(request, now_s, self._policy))


class ScorerChooser:
    """The profile of scorers, pinned and booked with the router."""

    def __init__(self, router: Router, workers: int) -> None:
        self._router = router
        self._policy = build_policy(default_picker_config(), clock=lambda: 0.0).policy
        names = range(1, workers + 1)
        self._pool = PoolSnapshot.of(Endpoint(f"w{n}", f"10.0.0.{n}", 8000, n) for n in names)

    def __call__(self, request: Request, now_s: float) -> WorkerRank:
        question = _question(request, now_s, Policy.KV)
        rows = candidates_of(self._router.measure(question), self._pool)
        context = SchedulingContext(rows, now_s, prompt_tokens=len(request.tokens) // 4)
        chosen = self._policy.choose(context, SplitMix64(request.number)).primary[0].worker
        return _booked(self._router, _question(request, now_s, Policy.KV, pin=chosen))


def _question(request: Request, now_s: float, policy: Policy, pin: WorkerRank | None = None) -> SelectRequest:
    return SelectRequest(
        request.tokens, now_s, request.number, policy, booking=request.number, lease_s=_LEASE_S, pin=pin
    )


def _booked(router: Router, question: SelectRequest) -> WorkerRank:
    answer = router.select(question)
    assert not isinstance(answer, NoChoice), answer
    return answer.worker


class Simulation:
    """One policy in one scenario."""

    def __init__(self, router: Router, policy: str, scenario: Scenario) -> None:
        self._router = router
        self._scenario = scenario
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._scraped_s = -math.inf
        self._engines: dict[WorkerRank, Engine] = {}
        self.ttft_s: list[float] = []
        for worker_id in range(1, scenario.workers + 1):
            self._add(worker_id)
        self._choose: Chooser = (
            ScorerChooser(router, scenario.workers)
            if policy == _SCORERS
            else RouterChooser(router, Policy(policy))
        )

    @property
    def hit_blocks(self) -> int:
        """Blocks of prompts that were not computed."""
        return sum(engine.hit_blocks for engine in self._engines.values())

    def run(self, requests: list[Request]) -> None:
        """Until the last answer is complete."""
        for request in requests:
            self._plan(request.at_s, lambda now_s, request=request: self._arrive(request, now_s))
        while self._agenda:
            now_s, _, act = heappop(self._agenda)
            if not self._scenario.events:
                self._router.expire(now_s)
            act(now_s)

    def _add(self, worker_id: int) -> None:
        scenario, target = self._scenario, WorkerRank(worker_id, 0)
        rate = TOKENS_PER_S * (0.5 if scenario.unequal and worker_id % 2 == 0 else 1.0)
        self._engines[target] = Engine(target, rate, scenario.blocks, scenario.interference)
        self._router.upsert_worker(
            WorkerSpec(
                worker_id,
                block_tokens=BLOCK_TOKENS,
                total_blocks=scenario.blocks,
                has_events=scenario.events,
            )
        )

    def _arrive(self, request: Request, now_s: float) -> None:
        if now_s - self._scraped_s >= SCRAPE_S:
            self._scraped_s = now_s
            for target, engine in self._engines.items():
                self._router.update_load(target, engine.load)
        engine = self._engines[self._choose(request, now_s)]
        engine.queue.append(request)
        self._start(engine, now_s)

    def _start(self, engine: Engine, now_s: float) -> None:
        took_s = engine.start()
        if took_s is not None:
            self._plan(now_s + took_s, lambda at_s: self._computed(engine, at_s))

    def _computed(self, engine: Engine, now_s: float) -> None:
        request = engine.computing
        assert request is not None
        self.ttft_s.append(now_s - request.at_s)
        self._publish(engine, engine.computed(), now_s)
        block_s = TRACE_BLOCK_TOKENS * DECODE_S_PER_TOKEN
        for number in range(1, 1 + request.output_tokens // TRACE_BLOCK_TOKENS):
            self._plan(now_s + number * block_s, lambda at_s: self._wrote(engine, request, at_s))
        end_s = now_s + request.output_tokens * DECODE_S_PER_TOKEN
        self._plan(end_s, lambda at_s: self._finished(engine, request, at_s))
        self._start(engine, now_s)

    def _wrote(self, engine: Engine, request: Request, now_s: float) -> None:
        self._publish(engine, engine.wrote(request), now_s)

    def _finished(self, engine: Engine, request: Request, now_s: float) -> None:
        engine.finished(request)
        self._router.free(request.number)
        self._start(engine, now_s)

    def _publish(self, engine: Engine, events: list[KvEvent], now_s: float) -> None:
        if events and self._scenario.events:
            self._router.apply(engine.worker, events, now_s)

    def _plan(self, at_s: float, act: Callable[[float], None]) -> None:
        heappush(self._agenda, (at_s, next(self._order), act))


def measure(requests: list[Request], core: str, policy: str, scenario: Scenario) -> dict[str, object]:
    """One line of figures."""
    options = RouterOptions(
        default_prefill_tokens_per_s=_PRIOR_TOKENS_PER_S / SCALE, default_block_tokens=BLOCK_TOKENS
    )
    simulation = Simulation(_CORES[core](options), policy, scenario)
    simulation.run(requests)
    ttft_s = sorted(simulation.ttft_s)
    blocks = sum(len(request.blocks) for request in requests)
    return {
        "policy": policy,
        **asdict(scenario),
        "hit_rate": round(simulation.hit_blocks / max(1, blocks), 4),
        "ttft_p50_s": round(_quantile(ttft_s, 0.50), 4),
        "ttft_p90_s": round(_quantile(ttft_s, 0.90), 3),
        "ttft_p99_s": round(_quantile(ttft_s, 0.99), 3),
        "ttft_mean_s": round(sum(ttft_s) / len(ttft_s), 4),
    }


def _quantile(ordered: list[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare routing policies in simulated time")
    parser.add_argument("--trace", type=Path, help="replay this file instead of made-up traffic")
    parser.add_argument("--shape", choices=SHAPES, default=next(iter(SHAPES)))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=2500, help="how many to make up")
    parser.add_argument("--speedup", type=float, default=1.0, help="arrivals this much faster")
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--blocks", type=int, nargs="+", default=[1000, 8000], help="0: unbounded")
    parser.add_argument("--speeds", nargs="+", choices=["equal", "unequal"], default=["equal", "unequal"])
    parser.add_argument("--policy", choices=[*_POLICIES, *_OTHERS], nargs="+", default=_POLICIES)
    parser.add_argument("--core", choices=_CORES, default="native")
    parser.add_argument("--no-events", action="store_true", help="workers publish nothing")
    parser.add_argument("--interference", type=float, default=0.01, help="see policy_engine")
    return parser.parse_args()


def main() -> None:
    """Parse arguments, print lines."""
    given = _arguments()
    traffic = given.trace.stem if given.trace else given.shape
    requests = read_trace(given.trace) if given.trace else made_up(given.shape, given.seed, given.requests)
    requests = [replace(request, at_s=request.at_s / given.speedup) for request in requests]
    for workers, blocks, speeds in itertools.product(given.workers, given.blocks, given.speeds):
        scenario = Scenario(workers, blocks, speeds == "unequal", not given.no_events, given.interference)
        for policy in given.policy:
            line = {
                "name": "policy_ttft",
                "traffic": traffic,
                **measure(requests, given.core, policy, scenario),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
