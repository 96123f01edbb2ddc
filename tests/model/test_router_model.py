"""Random histories: every router against a naive model, and all routers against each other."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)
from msgspec.structs import replace

from epp.core.endpoints import Role, WorkerRank
from epp.core.router import (
    BlocksCleared,
    BlocksRemoved,
    BlocksStored,
    BusyLimits,
    CapacityError,
    CostParams,
    DisaggRule,
    KvEvent,
    LoadSample,
    NoChoice,
    Policy,
    Router,
    RouterOptions,
    Selection,
    SelectRequest,
    Tier,
    UnknownBookingError,
    WorkerSpec,
)
from tests.conformance.router_suite.builders import flat, sizes
from tests.conformance.router_suite.factories import ROUTER_FACTORIES
from tests.model.naive_router import BS, NaiveRouter, Tokens, blocks_of

RANKS = [WorkerRank(worker, dp_rank) for worker in (1, 2) for dp_rank in (0, 1)]
CAPACITY = 24

ranks = st.sampled_from(RANKS)
tokens = st.lists(st.integers(1, 2), max_size=11).map(tuple)
names = st.integers(1, 12)
tiers = st.sampled_from(list(Tier))
namespaces = st.sampled_from(["", "", "tenant"])
steps = st.floats(0.0, 3.0)
repeats = st.sampled_from([1, 1, 1, 9])
LEASE_S = 6.0


class Told(NamedTuple):
    """One stored event."""

    rank: WorkerRank
    start: int | None
    content: Tokens
    given: list[int]
    tier: Tier
    namespace: str


class _Against(RuleBasedStateMachine):
    """One router beside the naive model."""

    factory = ""
    told = Bundle("told")

    def __init__(self) -> None:
        super().__init__()
        options = RouterOptions(max_blocks=CAPACITY)
        self.router = ROUTER_FACTORIES[self.factory](options)
        self.model = NaiveRouter(CAPACITY)
        self.now = 0.0
        self.next_booking = 1
        for worker in (1, 2):
            self.router.upsert_worker(WorkerSpec(worker, dp_size=2, block_tokens=BS))

    @rule(by=steps)
    def pass_time(self, by: float) -> None:
        self.now += by

    @rule(
        target=told,
        rank=ranks,
        start=st.one_of(st.none(), names),
        content=tokens,
        fresh=st.lists(names, min_size=6, max_size=6),
        tier=tiers,
        namespace=namespaces,
    )
    def store(
        self,
        rank: WorkerRank,
        start: int | None,
        content: Tokens,
        fresh: list[int],
        tier: Tier,
        namespace: str,
    ) -> Told:
        count = len(content) // BS
        told = Told(rank, start, content[: count * BS], fresh[:count], tier, namespace)
        self._store(told)
        return told

    @rule(target=told, told=told, times=repeats, shift=st.sampled_from([0, 0, 1]))
    def store_again(self, told: Told, times: int, shift: int) -> Told:
        """One more copy, or the same content under the next names."""
        again = told._replace(given=[name + shift for name in told.given])
        for _ in range(times):
            self._store(again)
        return again

    def _store(self, told: Told) -> None:
        rank, start, content, given, tier, namespace = told
        event = BlocksStored(tuple(given), start, flat(content), BS, tier, salt=namespace)
        report = self.router.apply(rank, [event], self.now)
        if not given:
            assert (report.stored_blocks, report.ignored) == (0, ())
            return
        stored, ignored, done, advanced = self.model.store(
            rank, given, start, content, tier, namespace, self.now
        )
        assert report.stored_blocks == stored
        assert dict(report.ignored) == {reason: ignored.count(reason) for reason in ignored}
        assert [entry.booking for entry in report.prefill_done] == done
        assert dict(report.decode_blocks) == {number: advanced.count(number) for number in advanced}

    @rule(rank=ranks, gone=st.lists(names, max_size=3), tier=tiers)
    def remove(self, rank: WorkerRank, gone: list[int], tier: Tier) -> None:
        outcomes = [self.model.remove(rank, name, tier) for name in gone]
        report = self.router.apply(rank, [BlocksRemoved(tuple(gone), tier)], self.now)
        assert report.removed_blocks == outcomes.count("removed")
        assert dict(report.ignored).get("unknown-hash", 0) == outcomes.count("unknown-hash")

    @rule(told=told)
    def take_back(self, told: Told) -> None:
        self.remove(told.rank, told.given, told.tier)

    @rule(rank=ranks, drop=st.booleans())
    def clear(self, rank: WorkerRank, drop: bool) -> None:
        dropped = self.model.clear(rank)
        if drop:
            assert self.router.drop_blocks(rank) == dropped
        else:
            assert self.router.apply(rank, [BlocksCleared()], self.now).cleared == 1

    @rule(content=tokens, namespace=namespaces, rank=ranks)
    def book(self, content: Tokens, namespace: str, rank: WorkerRank) -> None:
        request = SelectRequest(
            flat(content), self.now, 7, pin=rank, salt=namespace, booking=self.next_booking, lease_s=LEASE_S
        )
        picked = self.router.select(request)
        assert isinstance(picked, Selection)
        device, host, disk = self.model.runs(rank, blocks_of(namespace, content))
        left = len(content) - BS * (device + 0.75 * (host - device) + 0.25 * (disk - host))
        assert picked.uncached_tokens == max(0.0, left)
        uncached = int(picked.uncached_tokens + 0.5)
        self.model.book(self.next_booking, rank, namespace, content, uncached, self.now, LEASE_S)
        self.next_booking += 1

    @precondition(lambda self: self.model.bookings)
    @rule(data=st.data(), what=st.sampled_from(["complete", "output", "renew", "free"]))
    def change(self, data: st.DataObject, what: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.model.bookings)))
        booking = self.model.bookings[number]
        if what == "complete":
            assert (self.router.prefill_complete(number, self.now) is not None) == booking.prefilling
            self.model.complete(number)
        elif what == "output":
            self.router.output_block(number)
            booking.outputs += 1
        elif what == "renew":
            self.router.renew(number, self.now)
            booking.expires_at = self.now + LEASE_S
        else:
            self.router.free(number)
            del self.model.bookings[number]

    @rule()
    def expire(self) -> None:
        assert self.router.expire(self.now) == self.model.expire(self.now)

    @rule(content=tokens, namespace=namespaces)
    def measure(self, content: Tokens, namespace: str) -> None:
        rows = self.router.measure(SelectRequest(flat(content), self.now, 0, salt=namespace))
        chain = blocks_of(namespace, content)
        assert [row.worker for row in rows] == RANKS
        for row in rows:
            found = row.device_blocks, row.host_blocks, row.disk_blocks
            device, host, disk = self.model.runs(row.worker, chain)
            assert found == (device, host - device, disk - host)

    @invariant()
    def agrees(self) -> None:
        assert self.router.validate() is None
        for entry in self.router.loads():
            found = entry.active_requests, entry.active_prefill_tokens, entry.active_decode_blocks
            assert found == self.model.load(entry.worker)
            assert entry.resident_blocks == sum(rank == entry.worker for rank, _ in self.model.tiers)
        stats = self.router.stats()
        assert stats.resident_pairs == len(self.model.tiers)
        assert stats.distinct_blocks == len({block for _, block in self.model.tiers})
        assert stats.bookings == len(self.model.bookings)


for _name in ROUTER_FACTORIES:
    _machine = type(f"{_name.title()}Machine", (_Against,), {"factory": _name})
    _machine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
    globals()[f"Test{_name.title()}Router"] = _machine.TestCase


# --- all routers in lockstep ---------------------------------------------------------------------------

worker_specs = st.builds(
    WorkerSpec,
    worker_id=st.integers(1, 4),
    dp_size=st.integers(1, 3),
    role=st.sampled_from([Role.AGGREGATED, Role.AGGREGATED, Role.PREFILL, Role.DECODE, Role.ENCODE]),
    block_tokens=st.sampled_from([0, 2, 2, 2, 4]),
    total_blocks=st.sampled_from([0, 4, 20]),
    max_batched_tokens=st.sampled_from([0, 8]),
    has_events=st.sampled_from([True, True, False]),
    taints=st.sampled_from([frozenset[str](), frozenset({"a"}), frozenset({"a", "b"})]),
)
any_rank = st.builds(WorkerRank, st.integers(1, 5), st.integers(0, 3))
pins = st.one_of(st.none(), st.none(), st.builds(WorkerRank, st.integers(1, 5), st.integers(-1, 2)))
params = st.builds(
    CostParams,
    overlap_credit=st.sampled_from([0.0, 1.0, 1.0, 1.5]),
    credit_decay=st.sampled_from([0.0, 0.3]),
    prefill_load_scale=st.sampled_from([0.0, 1.0, 2.5]),
    host_weight=st.sampled_from([0.75, 0.3]),
    active_request_weight=st.sampled_from([0.0, 0.7]),
    temperature=st.sampled_from([0.0, 0.0, 0.5]),
    assume_kv_reuse=st.booleans(),
    track_prefill_tokens=st.booleans(),
)
stores = st.builds(
    lambda count, content, size, **more: BlocksStored(
        engine_hashes=tuple(range(count, count + len(content) // size)),
        tokens=flat(content[: len(content) // size * size]),
        block_tokens=size,
        **more,
    ),
    st.integers(1, 9),
    tokens,
    st.sampled_from([2, 2, 2, 4]),
    parent_engine_hash=st.one_of(st.none(), st.integers(1, 12)),
    tier=tiers,
    salt=namespaces,
    lora=namespaces,
)
removals = st.builds(BlocksRemoved, st.lists(st.integers(1, 14), max_size=3).map(tuple), tiers)
events = st.lists(st.one_of(stores, stores, removals, st.just(BlocksCleared())), max_size=3)
questions = st.builds(
    SelectRequest,
    tokens=tokens.map(flat),
    now_s=st.just(0.0),
    seed=st.integers(0, 2**64 - 1),
    policy=st.sampled_from(list(Policy)),
    candidates=st.one_of(st.none(), st.none(), st.lists(st.integers(1, 5), max_size=4)),
    lora=namespaces,
    salt=namespaces,
    expected_output_tokens=st.sampled_from([0, 0, 7]),
    lease_s=st.sampled_from([2.0, 9.0]),
    pin=pins,
    prefill_pin=pins,
    required_taints=st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"a"})]),
    preferred_taints=st.sampled_from([(), (("a", 0.5), ("b", -2.0))]),
    params=params,
    disagg=st.builds(DisaggRule, st.booleans(), st.sampled_from([0, 3]), st.sampled_from([0, 3])),
    busy=st.builds(
        BusyLimits,
        active_decode_fraction=st.sampled_from([None, None, 0.5]),
        active_prefill_tokens=st.sampled_from([None, None, 4]),
        active_prefill_fraction=st.sampled_from([None, None, 0.5]),
    ),
    explain=st.booleans(),
)


def outcome(call: Callable[[Router], object]) -> object:
    """What a call returns, or the kind of error it raises."""
    try:
        return call()
    except (ValueError, UnknownBookingError, CapacityError) as error:
        return type(error)


class Lockstep(RuleBasedStateMachine):
    """Every router is told and asked the same and answers the same."""

    bookings = Bundle("bookings")
    applied = Bundle("applied")

    def __init__(self) -> None:
        super().__init__()
        options = RouterOptions(
            max_workers=3,
            max_blocks=CAPACITY,
            max_bookings=6,
            predicted_ttl_s=5.0,
            default_block_tokens=2,
            default_prefill_tokens_per_s=4.0,
        )
        self.routers = [make(options) for make in ROUTER_FACTORIES.values()]
        self.now = 0.0
        self.booked = 0

    def same(self, call: Callable[[Router], object]) -> Any:
        answers = [outcome(lambda router=router: call(router)) for router in self.routers]
        assert all(answer == answers[0] for answer in answers)
        return answers[0]

    @rule(by=steps)
    def pass_time(self, by: float) -> None:
        self.now += by

    @rule(spec=worker_specs)
    def upsert(self, spec: WorkerSpec) -> None:
        self.same(lambda router: router.upsert_worker(spec))

    @rule(worker_id=st.integers(1, 4))
    def remove_worker(self, worker_id: int) -> None:
        self.same(lambda router: router.remove_worker(worker_id))

    @rule(rank=any_rank, waiting=st.integers(0, 3))
    def scrape(self, rank: WorkerRank, waiting: int) -> None:
        self.same(lambda router: router.update_load(rank, LoadSample(waiting_requests=waiting)))

    @rule(target=applied, rank=any_rank, batch=events)
    def apply(self, rank: WorkerRank, batch: list[KvEvent]) -> tuple[WorkerRank, list[KvEvent]]:
        self.same(lambda router: router.apply(rank, batch, self.now))
        return rank, batch

    @rule(before=applied, times=repeats)
    def apply_again(self, before: tuple[WorkerRank, list[KvEvent]], times: int) -> None:
        rank, batch = before
        self.apply(rank, batch * times)

    @rule(before=applied)
    def take_back(self, before: tuple[WorkerRank, list[KvEvent]]) -> None:
        rank, batch = before
        stored = [event for event in batch if isinstance(event, BlocksStored)]
        self.apply(rank, [BlocksRemoved(event.engine_hashes, event.tier) for event in stored])

    @rule(rank=any_rank)
    def drop(self, rank: WorkerRank) -> None:
        self.same(lambda router: router.drop_blocks(rank))

    @rule(question=questions)
    def ask(self, question: SelectRequest) -> None:
        question = _at(question, self.now)
        rows = self.same(lambda router: router.measure(question))
        picked = self.same(lambda router: router.select(question))
        if isinstance(picked, Selection) and question.explain:
            assert picked.candidates == rows
        assert isinstance(picked, Selection | NoChoice)

    @rule(target=bookings, question=questions)
    def book(self, question: SelectRequest) -> int | MultipleResults:
        self.booked += 1
        question = _at(question, self.now, self.booked)
        picked = self.same(lambda router: router.select(question))
        return self.booked if isinstance(picked, Selection) else multiple()

    @rule(booking=bookings)
    def complete(self, booking: int) -> None:
        self.same(lambda router: router.prefill_complete(booking, self.now))

    @rule(booking=bookings, decay=st.sampled_from([None, None, 0.0, 0.3, 1.0]))
    def output(self, booking: int, decay: float | None) -> None:
        self.same(lambda router: router.output_block(booking, decay))

    @rule(booking=bookings)
    def renew(self, booking: int) -> None:
        self.same(lambda router: router.renew(booking, self.now))

    @rule(booking=bookings)
    def free(self, booking: int) -> None:
        self.same(lambda router: router.free(booking))

    @rule()
    def expire(self) -> None:
        self.same(lambda router: router.expire(self.now))

    @invariant()
    def agree(self) -> None:
        for router in self.routers:
            assert router.validate() is None
        self.same(lambda router: router.loads())
        self.same(sizes)


def _at(question: SelectRequest, now_s: float, booking: int | None = None) -> SelectRequest:
    return replace(question, now_s=now_s, booking=booking)


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
