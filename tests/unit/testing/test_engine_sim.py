"""Continuous batching in simulated time."""

from dataclasses import replace

import pytest

from epp.testing.engine import SimEngine
from epp.testing.engine.events import Cleared, Stored
from tests.unit.testing.engines import SMALL, events_of, replay, request, run_dry


def test_a_step_takes_its_prefill_and_one_token_time() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(10), answer=2), now_s=5.0)
    first, second = run_dry(engine)
    assert first.ended_s == pytest.approx(5.0 + 10 / 100 + 1 / 10)
    assert second.ended_s == pytest.approx(first.ended_s + 1 / 10)
    assert [t.finish_reason for t in (*first.tokens, *second.tokens)] == [None, "stop"]
    assert first.tokens[0].waited_s == pytest.approx(0.2)


def test_nothing_happens_before_a_step_ends() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(10)), now_s=0.0)
    assert engine.advance(0.19) == []
    assert len(engine.advance(0.21)) == 1
    assert engine.next_at_s is None


def test_a_late_call_loses_no_simulated_time() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(4), answer=5), now_s=0.0)
    results = engine.advance(1000.0)
    assert results[-1].ended_s == pytest.approx(4 / 100 + 5 / 10)


def test_a_long_prompt_is_computed_in_chunks_beside_running_decodes() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("short", range(4), answer=8), now_s=0.0)
    engine.submit(request("long", range(100, 140)), now_s=0.0)
    results = run_dry(engine)
    chunks = [round((step.duration_s - 0.1) * 100) for step in results]
    assert chunks[:4] == [4, 15, 15, 10], "budget 16, one of it for the decode"
    assert [t.request_id for t in results[3].tokens] == ["short", "long"]


def test_no_more_than_max_num_seqs_run_and_the_rest_wait_in_order() -> None:
    engine = SimEngine(SMALL)
    for index in range(6):
        engine.submit(request(f"r{index}", [index]), now_s=0.0)
    assert (engine.running, engine.waiting) == (1, 5), "the first one began at once, alone"
    order = [token.request_id for step in run_dry(engine) for token in step.tokens]
    assert order == [f"r{index}" for index in range(6)]


def test_a_repeated_prompt_is_found_up_to_its_last_token() -> None:
    engine = SimEngine(SMALL)
    for name, expected in (("cold", 0), ("warm", 8)):
        engine.submit(request(name, range(12)), now_s=0.0)
        (step,) = run_dry(engine)
        assert step.tokens[0].cached_tokens == expected, (
            "12 tokens are three blocks; the last token is computed"
        )
    assert engine.counters.prefix_queries == 24
    assert engine.counters.prefix_hits == 8
    assert engine.counters.computed_prompt == 16


def test_requests_of_one_step_share_blocks() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("busy", [99]), now_s=0.0)
    engine.submit(request("a", range(9)), now_s=0.0)
    engine.submit(request("b", range(9)), now_s=0.0)
    tokens = {t.request_id: t for step in run_dry(engine) for t in step.tokens}
    assert tokens["b"].cached_tokens == 8


@pytest.mark.parametrize("other", [{"salt": "x"}, {"lora": ("ad", 1)}])
def test_salts_and_adapters_do_not_share(other: dict[str, object]) -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("plain", range(9)), now_s=0.0)
    run_dry(engine)
    engine.submit(request("other", range(9), **other), now_s=0.0)
    assert run_dry(engine)[0].tokens[0].cached_tokens == 0


def test_decode_blocks_are_stored_behind_their_prompt() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(6), answer=7), now_s=0.0)
    stored = [event for event in events_of(run_dry(engine)) if isinstance(event, Stored)]
    assert [event.tokens for event in stored] == [(0, 1, 2, 3), (4, 5, 1000, 1001), (1002, 1003, 1004, 1005)]
    assert [event.parent for event in stored] == [None, stored[0].hashes[0], stored[1].hashes[0]]


def test_the_last_token_is_never_computed_so_never_stored() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(3), answer=1), now_s=0.0)
    assert events_of(run_dry(engine)) == []


def test_preemption_gives_way_to_the_earlier_request_and_all_finish() -> None:
    engine = SimEngine(replace(SMALL, max_num_batched_tokens=64))
    for name, start in (("first", 0), ("second", 100)):
        engine.submit(request(name, range(start, start + 24), answer=20), now_s=0.0)
    results = run_dry(engine)
    assert engine.counters.preemptions > 0
    done = [t.request_id for step in results for t in step.tokens if t.finish_reason]
    assert done == ["first", "second"]
    assert sum(len(step.tokens) for step in results) == 40
    assert engine.kv_usage == 0
    assert replay(events_of(results)) == engine.cache.resident()


def test_an_aborted_request_frees_its_blocks_and_produces_nothing_more() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(10), answer=9), now_s=0.0)
    engine.submit(request("b", range(20, 30), answer=1), now_s=0.0)
    assert engine.abort("a")
    assert engine.abort("b")
    assert not engine.abort("a")
    assert engine.kv_usage == 0
    assert [t for step in run_dry(engine) for t in step.tokens] == []
    assert engine.counters.finished == {"abort": 2}


def test_reset_is_refused_under_way_and_announced_with_the_next_step() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("a", range(10)), now_s=0.0)
    assert not engine.reset_prefix_cache()
    run_dry(engine)
    assert engine.reset_prefix_cache()
    engine.submit(request("b", range(10)), now_s=1.0)
    events = events_of(run_dry(engine))
    assert events[0] == Cleared()
    assert engine.counters.prefix_hits == 0


def test_handed_over_tokens_cost_no_prefill_and_are_not_called_cached() -> None:
    engine = SimEngine(SMALL)
    engine.submit(request("d", range(40), remote_tokens=40), now_s=0.0)
    (step,) = run_dry(engine)
    assert step.duration_s == pytest.approx(0.1 + 1 / 100), "only the last token is computed"
    assert step.tokens[0].cached_tokens == 0
    assert engine.counters.external_hits == 39
    assert len(replay(step.events)) == 10


@pytest.mark.parametrize(("prompt", "answer"), [(0, 1), (1, 0), (60, 5)])
def test_what_cannot_be_served_is_refused(prompt: int, answer: int) -> None:
    with pytest.raises(ValueError, match="token"):
        SimEngine(SMALL).submit(request("a", range(prompt), answer=answer), now_s=0.0)


def test_running_and_waiting_adapters_are_told_apart() -> None:
    engine = SimEngine(replace(SMALL, max_num_seqs=1))
    engine.submit(request("a", range(4), lora=("x", 1)), now_s=0.0)
    engine.submit(request("b", range(4), lora=("y", 2)), now_s=0.0)
    assert engine.adapters() == (frozenset({"x"}), frozenset({"y"}))
