"""The ledger and the ``kv`` cost against Dynamo's selection service, call by call."""

import random
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import floor
from pathlib import Path
from typing import TypeAlias

import pytest

from epp.core import blocks
from epp.core.endpoints import WorkerRank
from epp.core.router import CandidateTerms, CostParams, Policy, SelectRequest

from .oracle import Oracle
from .routers import Routers, payload
from .service import Service, load_of, prompt
from .streams import BLOCK_TOKENS, Engine, World, ranks

Tally: TypeAlias = Callable[[Counter[str]], None]

_WORKERS = 4
_PICKS = 40


def _flat(ids: list[int]) -> bytes:
    return struct.pack(f"<{len(ids)}I", *ids)


@dataclass(slots=True)
class Booked:
    """One booking, as the test knows it."""

    worker: WorkerRank
    blocks: tuple[int, ...]
    """Identities of its full prompt blocks."""
    prefilled: bool = False
    output: list[float] = field(default_factory=list)
    """Weight of each output block."""


class Weights:
    """Decode blocks of one worker, where a block that gains a second holder weighs one again, or keeps the
    weight that decay gave it."""

    def __init__(self, *, restore: bool) -> None:
        self._restore = restore
        self._held: dict[int, tuple[int, float]] = {}

    def add(self, booked: Booked) -> None:
        for block in booked.blocks:
            holders, weight = self._held.get(block, (0, 1.0))
            self._held[block] = holders + 1, 1.0 if self._restore else weight

    def decay(self, booked: Booked, fraction: float) -> None:
        for block in booked.blocks:
            if self._held[block][0] == 1:
                self._held[block] = 1, fraction

    def drop(self, booked: Booked) -> None:
        for block in booked.blocks:
            holders, weight = self._held.pop(block)
            if holders > 1:
                self._held[block] = holders - 1, weight

    def total(self, output: Iterable[float]) -> int:
        return floor(sum(weight for _, weight in self._held.values()) + sum(output) + 0.5)


@dataclass(slots=True)
class Both:
    """The service and our routers with the same blocks and the same bookings."""

    service: Service
    routers: Routers
    rng: random.Random
    world: World
    params: CostParams = CostParams()
    fresh: bool = False
    """Book only prompts that nobody holds: what the service books of others depends on its weights, ours does
    not."""
    bookings: dict[int, Booked] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    ours: dict[WorkerRank, Weights] = field(default_factory=dict)
    theirs: dict[WorkerRank, Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give every worker some blocks, not all on the device."""
        for target in ranks(_WORKERS, 1):
            self.ours[target], self.theirs[target] = Weights(restore=True), Weights(restore=False)
            engine = Engine(self.world, self.rng, offload=True)
            message = payload(self.world, list(engine.changes(40)), target.rank)
            self.routers.apply_payload(target, message)
            self.service.publish(target, message)
        self.service.settle()

    def prompt(self) -> list[int]:
        """A path of the world, some of it beyond, seldom a multiple of the block size."""
        path = self.world.path(self.rng.randrange(len(self.world.parents)))
        ids = memoryview(self.world.prompt(path)).cast("I").tolist()
        return ids + self.rng.choices(range(9000), k=self.rng.randrange(3 * BLOCK_TOKENS))

    def reserve(self) -> None:
        """Book one prompt on one worker, in both; the answers agree.

        Where every full block is resident no event will tell that the prompt is computed, so ours counts it
        as computed at once; the service counts the tail until it is told."""
        self.counts["reserve"] += 1
        number, worker = self.counts["reserve"], WorkerRank(self.rng.randint(1, _WORKERS), 0)
        ids = self.prompt()
        if self.fresh:
            ids = [token + 200_000 for token in ids]
        pinned = {"worker_id": worker.worker_id, "dp_rank": 0}
        question = prompt(ids, selection_id=str(number), pinned_worker=pinned)
        (theirs,) = self.service.call("select_and_reserve", question)
        ours = self.routers.select(
            SelectRequest(_flat(ids), 0.0, 1, Policy.KV, booking=number, pin=worker, explain=True)
        )
        assert theirs["effective_prefill_tokens"] == ours.uncached_tokens
        booked = Booked(worker, tuple(blocks.prompt_hashes(_flat(ids), BLOCK_TOKENS)))
        self._keep(number, booked)
        if ours.candidates[0].device_blocks == len(booked.blocks):
            assert ours.uncached_tokens < BLOCK_TOKENS
            self.counts["computed at once"] += 1
            self._prefilled(number)

    def prefill_complete(self) -> None:
        """The prompt of some booking is computed."""
        waiting = [number for number, booked in self.bookings.items() if not booked.prefilled]
        if waiting:
            self._prefilled(self.rng.choice(waiting))

    def output_block(self, decays: Sequence[float] = (1.0, 0.75, 0.5, 0.25, 0.0)) -> None:
        """Some booking made a block of output."""
        if self.bookings:
            number = self.rng.choice(list(self.bookings))
            decay = self.rng.choice((None, None, *decays))
            self.service.output_block(str(number), decay)
            for router in self.routers.both:
                router.output_block(number, decay)
            booked = self.bookings[number]
            booked.output.append(1.0)
            if decay is not None:
                booked.output = [decay] * len(booked.output)
                self.ours[booked.worker].decay(booked, decay)
                self.theirs[booked.worker].decay(booked, decay)

    def free(self) -> None:
        """Some booking ends."""
        if self.bookings:
            number = self.rng.choice(list(self.bookings))
            self.service.tell("free_reservation", str(number))
            for router in self.routers.both:
                router.free(number)
            booked = self.bookings.pop(number)
            self.ours[booked.worker].drop(booked)
            self.theirs[booked.worker].drop(booked)

    def step(self, *, decay: bool = False) -> None:
        """One of these."""
        output = self.output_block if decay else partial(self.output_block, ())
        (act,) = self.rng.choices((self.reserve, self.prefill_complete, output, self.free), (4, 3, 4, 2))
        act()

    def compare(self) -> None:
        """All loads agree, but for the weight of shared blocks after decay."""
        theirs = self.service.loads()
        for load in self.routers.loads():
            worker = load.worker
            prefill_tokens, decode_blocks, requests = theirs[worker]
            assert (load.active_prefill_tokens, load.active_requests) == (prefill_tokens, requests)
            output = [
                w for booked in self.bookings.values() if booked.worker == worker for w in booked.output
            ]
            assert load.active_decode_blocks == self.ours[worker].total(output)
            assert decode_blocks == self.theirs[worker].total(output)
            self.counts["loads"] += 1
            self.counts["shared blocks keep their decay there"] += load.active_decode_blocks != decode_blocks

    def _keep(self, number: int, booked: Booked) -> None:
        self.bookings[number] = booked
        self.ours[booked.worker].add(booked)
        self.theirs[booked.worker].add(booked)

    def _prefilled(self, number: int) -> None:
        self.service.tell("prefill_complete", str(number))
        for router in self.routers.both:
            router.prefill_complete(number, 0.0)
        self.bookings[number].prefilled = True


@pytest.fixture(params=range(3))
def both(oracle: Oracle, request: pytest.FixtureRequest, tally: Tally) -> Iterator[Both]:
    rng = random.Random(f"loads {request.param}")
    with Service(oracle, _WORKERS, 1, threads=1) as service:
        pair = Both(service, Routers(_WORKERS), rng, World.grown(rng, 200))
        yield pair
    tally(pair.counts)


def test_loads_agree_after_every_call(both: Both, scale: int) -> None:
    for _ in range(300 * scale):
        both.step(decay=True)
        both.compare()
    assert both.counts["computed at once"] > 0


def test_potential_loads_agree(both: Both, scale: int) -> None:
    """There the service leaves the partial last block out, which it counts when it selects."""
    for _ in range(40 * scale):
        both.step()
        ids = both.prompt()
        (theirs,) = both.service.call("potential_loads", prompt(ids))
        potential = {WorkerRank(row["worker_id"], row["dp_rank"]): load_of(row) for row in theirs}
        for row in both.routers.measure(SelectRequest(_flat(ids), 0.0, 1)):
            assert potential[row.worker] == _potential(row, tail=len(ids) % BLOCK_TOKENS > 0)


def _potential(row: CandidateTerms, *, tail: bool) -> tuple[int, int, int]:
    prefill_tokens = row.active_prefill_tokens + int(row.uncached_tokens)
    return prefill_tokens, row.potential_decode_blocks - tail, row.active_requests


_SETTINGS: dict[str, tuple[dict[str, float], CostParams]] = {
    "defaults": ({}, CostParams()),
    "no credit": ({"KV_OVERLAP_SCORE_CREDIT": 0.0}, CostParams(overlap_credit=0.0)),
    "half credit": ({"KV_OVERLAP_SCORE_CREDIT": 0.5}, CostParams(overlap_credit=0.5)),
    "credit fades": ({"KV_OVERLAP_SCORE_CREDIT_DECAY": 1.0}, CostParams(credit_decay=1.0)),
    "decode alone": ({"PREFILL_LOAD_SCALE": 0.0}, CostParams(prefill_load_scale=0.0)),
    "prefill thrice": ({"PREFILL_LOAD_SCALE": 3.0}, CostParams(prefill_load_scale=3.0)),
    "tiers": (
        {"HOST_CACHE_HIT_WEIGHT": 0.5, "DISK_CACHE_HIT_WEIGHT": 0.125},
        CostParams(host_weight=0.5, disk_weight=0.125),
    ),
    "requests count": ({"DECODE_ACTIVE_REQUEST_WEIGHT": 4.0}, CostParams(active_request_weight=4.0)),
}
"""Variables of the wheel without their prefix ``DYN_ROUTER_``, and ours."""


@pytest.mark.parametrize("settings", _SETTINGS)
def test_the_service_picks_every_one_of_our_cheapest_and_nobody_else(
    dynamo_python: str, tmp_path: Path, scale: int, tally: Tally, settings: str
) -> None:
    theirs, params = _SETTINGS[settings]
    variables = {f"DYN_ROUTER_{name}": str(value) for name, value in theirs.items()}
    rng = random.Random(f"choice {settings}")
    with (
        Oracle(dynamo_python, tmp_path / "log", settings=variables) as oracle,
        Service(oracle, _WORKERS, 1, threads=1) as service,
    ):
        both = Both(service, Routers(_WORKERS), rng, World.grown(rng, 200), params, fresh=bool(theirs))
        for _ in range(12 * scale):
            for _ in range(4):
                both.step()
            cheapest = _cheapest(both, ids := both.prompt())
            picked = {answer["worker_id"] for answer in service.call("select", *[prompt(ids)] * _PICKS)}
            assert picked == cheapest
            both.counts["ties"] += len(cheapest) > 1
        tally(both.counts)


def _cheapest(both: Both, ids: list[int]) -> set[int]:
    rows = both.routers.measure(SelectRequest(_flat(ids), 0.0, 1, Policy.KV, params=both.params))
    least = min(row.cost for row in rows)
    return {row.worker.worker_id for row in rows if row.cost == least}
