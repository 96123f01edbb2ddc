"""The subscriber over real ZMQ sockets."""

import asyncio

import pytest

from epp.config.model import EventsConfig
from epp.core.endpoints import PoolSnapshot, WorkerRank

from .conftest import DEADLINE_S, Listening, Publisher, endpoint, eventually


async def published(publisher: Publisher, listening: Listening, *names: int) -> None:
    """Connect, publish, and see the view follow."""
    await publisher.subscribed()
    await eventually(lambda: bool(listening.metrics.replays))
    for name in names:
        publisher.publish(name)
    await eventually(lambda: listening.view()[-len(names) :] == list(names))


@pytest.mark.parametrize("with_topic", [True, False], ids=["topic in replies", "no topic in replies"])
async def test_a_late_join_learns_what_was_before(with_topic: bool, listening: Listening) -> None:
    publisher = Publisher(with_topic=with_topic)
    try:
        for name in range(5):
            publisher.publish(name)
        async with listening.to(endpoint(publisher)):
            await eventually(lambda: listening.view() == [0, 1, 2, 3, 4])
            await publisher.subscribed()
            publisher.publish(5)
            await eventually(lambda: listening.view() == [0, 1, 2, 3, 4, 5])
        assert listening.sink.drops == []
        assert listening.reports == [WorkerRank(1, 0)] * 6
    finally:
        publisher.close()


async def test_a_gap_is_replayed_in_order(publisher: Publisher, listening: Listening) -> None:
    async with listening.to(endpoint(publisher)):
        await published(publisher, listening, 0, 1)
        publisher.publish(2, lost=True)
        publisher.publish(3, lost=True)
        publisher.publish(4)
        publisher.publish(5)
        await eventually(lambda: listening.view() == [0, 1, 2, 3, 4, 5])
    assert publisher.asked == [0, 2]
    assert listening.sink.drops == []


async def test_a_gap_without_replay_drops_the_view(publisher: Publisher, listening: Listening) -> None:
    async with listening.to(endpoint(publisher, replay=False)):
        await publisher.subscribed()
        publisher.publish(0)
        publisher.publish(1, lost=True)
        publisher.publish(2)
        await eventually(lambda: listening.view() == [2])
    assert listening.metrics.reasons == ["gap"]


async def test_a_gap_the_engine_cannot_fill_drops_the_view(listening: Listening) -> None:
    publisher = Publisher(kept=2)
    try:
        async with listening.to(endpoint(publisher)):
            await published(publisher, listening, 0, 1)
            for name in range(2, 8):
                publisher.publish(name, lost=True)
            publisher.publish(8)
            await eventually(lambda: listening.view() == [7, 8])
        assert listening.metrics.reasons == ["replay-hole"]
    finally:
        publisher.close()


async def test_a_replay_that_never_answers_is_given_up() -> None:
    listening = Listening(EventsConfig(replay_timeout_s=0.05))
    publisher = Publisher(replays=False)
    try:
        async with listening.to(endpoint(publisher)):
            await published(publisher, listening, 0)
            publisher.publish(1, lost=True)
            publisher.publish(2)
            await eventually(lambda: listening.view() == [2])
        assert listening.metrics.replays == [False, False]
        assert listening.metrics.reasons == ["replay-timeout"]
    finally:
        publisher.close()


async def test_a_restarted_engine_begins_with_an_empty_view(
    publisher: Publisher, listening: Listening
) -> None:
    async with listening.to(endpoint(publisher)):
        await published(publisher, listening, 0, 1, 2)
        publisher.stop()
        await eventually(lambda: listening.metrics.ups[-1:] == [False])
        publisher.start()
        publisher.publish(10)  # before anyone can have heard it
        await eventually(lambda: listening.view() == [10])
        await publisher.subscribed()
        publisher.publish(11)
        await eventually(lambda: listening.view() == [10, 11])
    assert listening.metrics.reasons == ["restart"]


async def test_malformed_messages_are_counted_and_left_out(
    publisher: Publisher, listening: Listening
) -> None:
    async with listening.to(endpoint(publisher)):
        await published(publisher, listening, 0)
        publisher.raw([b""])
        publisher.raw([b"", b"short", b""])
        publisher.publish(1)
        await eventually(lambda: listening.view() == [0, 1])
    assert len(listening.metrics.bad) == 2


async def test_a_flood_leaves_the_loop_its_turns(publisher: Publisher, listening: Listening) -> None:
    """The subscriber reads in slices: other work runs between two of them, many times over."""
    turns_mid_flood = 0
    async with listening.to(endpoint(publisher)):
        await published(publisher, listening, 0)
        for name in range(1, 20_001):
            publisher.publish(name)
        async with asyncio.timeout(DEADLINE_S):
            while len(listening.view()) < 20_001:
                turns_mid_flood += 1
                await asyncio.sleep(0)
        assert listening.view() == list(range(20_001))
    assert turns_mid_flood > 3


async def test_each_rank_has_its_port_and_leavers_are_left(listening: Listening) -> None:
    first = Publisher()
    try:
        worker = endpoint(first, replay=False, dp_size=2)
        async with listening.to(worker):
            assert listening.subscriber.links == 2
            await first.subscribed()
            first.publish(7)
            await eventually(lambda: listening.view(1, 0) == [7])
            listening.subscriber.follow(PoolSnapshot.of([]))
            assert listening.subscriber.links == 0
    finally:
        first.close()


async def test_a_new_address_is_a_new_stream(publisher: Publisher, listening: Listening) -> None:
    other = Publisher()
    try:
        other.publish(50)
        async with listening.to(endpoint(publisher)):
            await published(publisher, listening, 0, 1)
            listening.subscriber.follow(PoolSnapshot.of([endpoint(other)]))
            await eventually(lambda: listening.view() == [50])
        assert listening.metrics.reasons == ["readdressed"]
    finally:
        other.close()


async def test_silence_is_reported_once_and_ends_with_an_event(publisher: Publisher) -> None:
    listening = Listening(EventsConfig(silent_after_s=0.0))
    target = WorkerRank(1, 0)
    async with listening.to(endpoint(publisher)):
        await publisher.subscribed()
        await eventually(lambda: bool(listening.metrics.replays))
        listening.subscriber.note_sent(WorkerRank(99, 0), 0.0)
        listening.subscriber.note_sent(target, 0.0)
        listening.subscriber.check_silence()
        listening.subscriber.check_silence()
        assert (listening.metrics.silences, listening.subscriber.silent_ranks) == ([True], 1)
        publisher.publish(1)
        await eventually(lambda: listening.metrics.silences == [True, False])


async def test_a_sink_that_breaks_ends_the_subscriber(publisher: Publisher, listening: Listening) -> None:
    listening.sink.broken = True
    publisher.publish(1)
    listening.subscriber.follow(PoolSnapshot.of([endpoint(publisher)]))
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="the sink broke")):
        async with asyncio.timeout(DEADLINE_S):
            await listening.subscriber.run()


@pytest.mark.parametrize("address", ["tcp://nobody", "udp://127.0.0.1:1"])
async def test_an_unusable_address_is_refused_and_the_others_are_heard(
    address: str, publisher: Publisher, listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    bad = replace(endpoint(publisher, worker_id=2), kv_events=address)
    async with listening.to(bad, endpoint(publisher)):
        await published(publisher, listening, 0)
    assert listening.metrics.refusals == ["address"]
    assert "events are not read" in caplog.text


async def test_an_engine_that_starts_later_is_found(listening: Listening) -> None:
    publisher = Publisher()
    publisher.stop()
    try:
        async with listening.to(endpoint(publisher)):
            publisher.start()
            publisher.publish(3)
            await eventually(lambda: listening.view() == [3])
    finally:
        publisher.close()
