"""Whatever is asked of an engine: everything ends, no block is lost, and its events tell its cache."""

from hypothesis import given, settings
from hypothesis import strategies as st

from epp.testing.engine import SimEngine
from epp.testing.engine.events import CacheEvent
from tests.unit.testing.engines import SMALL, replay, request

# Few distinct tokens and shared beginnings, so that prompts really meet in the cache.
prompts = st.builds(
    lambda shared, own: [1] * shared + own,
    st.integers(0, 30),
    st.lists(st.integers(0, 2), min_size=1, max_size=12),
)
asked = st.tuples(prompts, st.integers(1, 20), st.sampled_from([None, "s"]), st.floats(0, 2), st.booleans())


@settings(max_examples=150, deadline=None)
@given(st.lists(asked, max_size=14))
def test_events_tell_exactly_what_is_cached(
    requests: list[tuple[list[int], int, str | None, float, bool]],
) -> None:
    engine = SimEngine(SMALL)
    events: list[CacheEvent] = []
    now_s, finished, aborted = 0.0, set[str](), set[str]()
    for index, (prompt, answer, salt, pause_s, abort) in enumerate(requests):
        now_s += pause_s
        for step in engine.advance(now_s):
            events += step.events
            finished |= {t.request_id for t in step.tokens if t.finish_reason}
        engine.submit(request(str(index), prompt, answer, salt=salt), now_s)
        if abort and engine.abort(str(index // 2)):
            aborted.add(str(index // 2))
    while (at_s := engine.next_at_s) is not None:
        for step in engine.advance(at_s):
            events += step.events
            finished |= {t.request_id for t in step.tokens if t.finish_reason}
    assert finished | aborted == {str(index) for index in range(len(requests))}
    assert not finished & aborted
    assert engine.kv_usage == 0
    assert replay(events) == engine.cache.resident()


@given(st.lists(st.tuples(prompts, st.integers(1, 8)), min_size=1, max_size=6))
def test_cached_tokens_are_whole_blocks_and_never_the_whole_prompt(
    requests: list[tuple[list[int], int]],
) -> None:
    engine = SimEngine(SMALL)
    for index, (prompt, answer) in enumerate(requests):
        engine.submit(request(str(index), prompt, answer), float(index * 100))
        tokens = [t for step in engine.advance(index * 100 + 99.0) for t in step.tokens]
        assert [t.index for t in tokens] == list(range(answer))
        assert tokens[0].cached_tokens % SMALL.block_tokens == 0
        assert tokens[0].cached_tokens < len(prompt)
