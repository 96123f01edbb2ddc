"""Helpers shared by the simulated engine's tests."""

from collections import Counter
from collections.abc import Iterable

from epp.testing.engine import EngineConfig, GenerationRequest, SimEngine, StepResult
from epp.testing.engine.events import CacheEvent, Cleared, Removed, Stored
from epp.testing.engine.ids import ids

SMALL = EngineConfig(
    block_tokens=4,
    total_blocks=17,
    max_model_len=64,
    max_num_seqs=4,
    max_num_batched_tokens=16,
    prefill_tokens_per_s=100.0,
    decode_tokens_per_s=10.0,
)


def request(name: str, prompt: Iterable[int], answer: int = 1, **more: object) -> GenerationRequest:
    """A request called ``name`` that answers ``answer`` tokens 1000, 1001, …"""
    return GenerationRequest(name, ids(prompt), ids(range(1000, 1000 + answer)), **more)  # type: ignore[arg-type] -- test data


def run_dry(engine: SimEngine) -> list[StepResult]:
    """Every step until the engine is idle."""
    results: list[StepResult] = []
    while (at_s := engine.next_at_s) is not None:
        results += engine.advance(at_s)
    return results


def replay(events: Iterable[CacheEvent]) -> Counter[int]:
    """What a listener believes is resident: copies of each block."""
    resident: Counter[int] = Counter()
    for event in events:
        match event:
            case Stored():
                assert event.parent is None or resident[event.parent] > 0, "a parent is resident when named"
                assert len(event.tokens) == len(event.hashes) * event.block_tokens
                resident.update(event.hashes)
            case Removed():
                assert resident[event.hash] > 0, "only resident blocks are removed"
                resident[event.hash] -= 1
            case Cleared():
                resident.clear()
    return +resident


def events_of(results: Iterable[StepResult]) -> list[CacheEvent]:
    """All events of some steps, in order."""
    return [event for result in results for event in result.events]
