"""Two programs that share no code agree: what the picker expects to be cached, the engine finds."""

from random import Random

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import RouterOptions, Selection, SelectRequest, WorkerSpec
from epp.testing.engine import SimEngine
from epp.testing.engine.events import encode_batch
from epp.testing.engine.ids import ids
from epp.wire.kvevents import decode
from tests.unit.testing.engines import SMALL, request


def prompts(random: Random) -> list[int]:
    """Prompts that share beginnings, of up to 32 tokens."""
    family = random.randrange(4)
    return [family * 100 + position for position in range(random.randrange(1, 30))] + [
        random.randrange(3)
    ] * 3


def test_the_index_predicts_the_engines_hits() -> None:
    random = Random(7)
    engine, router, worker = SimEngine(SMALL), ReferenceRouter(RouterOptions(), decode), WorkerRank(1, 0)
    router.upsert_worker(WorkerSpec(1, block_tokens=SMALL.block_tokens))
    hits = 0
    for number in range(300):
        now_s = number * 10.0
        prompt = prompts(random)
        choice = router.select(SelectRequest(ids(prompt).tobytes(), now_s, seed=number))
        assert isinstance(choice, Selection)
        engine.submit(request(str(number), prompt, random.randrange(1, 9)), now_s)
        steps = engine.advance(now_s + 9.0)
        for step in steps:
            router.apply_payload(worker, encode_batch(now_s, step.events, 0), now_s)
        found = steps[0].tokens[0].cached_tokens if steps[0].tokens else steps[1].tokens[0].cached_tokens
        findable = (len(prompt) - 1) // SMALL.block_tokens * SMALL.block_tokens
        assert min(choice.cached_tokens, findable) == found, number
        hits += found
    assert hits > 1000
    assert engine.cache.drain_events() == []
