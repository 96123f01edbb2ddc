"""What people and scrapers see."""

from prometheus_client.parser import text_string_to_metric_families

from epp.core.endpoints import Role, WorkerRank
from epp.core.outcomes import Ending, ResponseFacts
from epp.core.router import LoadSample

from .stage import Spine, endpoint, tokens_of, words


async def test_the_page_parses_and_shows_the_present_state() -> None:
    spine = Spine(endpoint(1, dp_size=2), endpoint(2, role=Role.DECODE))
    for rank, waiting in ((0, 1), (1, 2)):
        spine.fleet.update_load(WorkerRank(1, rank), LoadSample(waiting, 4, 0.5), spine.now_s)
    spine.stored(1, tokens_of(words(8)))
    await spine.picked(words(8))
    await spine.inspector.refresh()
    page = spine.inspector.metrics_page().decode()
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    keys = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
    assert len(keys) == len(set(keys)), "a series twice makes a scrape fail"
    values = {
        (s.name, s.labels.get("model_server_endpoint") or s.labels.get("bound")): s.value for s in samples
    }
    assert values["llm_d_epp_ready_endpoints", None] == 2
    assert values["llm_d_epp_per_endpoint_queue_size", "10.0.0.1:8000"] == 3
    assert values["llm_d_epp_average_queue_size", None] == 1.5
    assert values["llm_d_epp_std_dev_queue_size", None] == 0.5
    assert values["epp_bound_used", "bookings"] == 1
    assert values["llm_d_epp_prefix_indexer_size", None] == 2


async def test_workers_are_listed_by_rank() -> None:
    spine = Spine(endpoint(1, dp_size=2))
    await spine.picked(words(8))
    page = await spine.inspector.workers()
    assert [(w["worker_id"], w["rank"]) for w in page["workers"]] == [(1, 0), (1, 1)]
    assert (page["in_flight"], page["index"]["bookings"]) == (1, 1)
    assert [w["event_age_s"] for w in page["workers"]] == [None, None]
    spine.stored(1, tokens_of(words(8)))
    spine.now_s += 2
    page = await spine.inspector.workers()
    assert page["workers"][0]["event_age_s"] == 2


async def test_picks_are_found_by_id_and_listed_newest_first() -> None:
    spine = Spine()
    for name in ("one", "two", "two"):
        picked = await spine.picked(request_id=name)
    spine.picker.finish(picked, Ending.COMPLETED, ResponseFacts())
    newest = await spine.inspector.recent_picks(2, None)
    assert [p["request_id"] for p in newest] == ["two", "two"]
    (found,) = await spine.inspector.recent_picks(20, "two")
    assert found["ended"] == "completed"
    assert await spine.inspector.recent_picks(20, "three") == []
    assert await spine.inspector.recent_picks(0, None) == []


async def test_the_ring_is_bounded_in_number_and_size() -> None:
    spine = Spine()
    for _ in range(600):
        spine.picker.finish(await spine.picked(), Ending.COMPLETED, ResponseFacts())
    assert len(spine.recent) == 512
    await spine.picked(model="m" * 1_000_000, request_id="r" * 10_000)
    (shown,) = spine.recent.newest(1)
    assert (len(shown["model"]), len(shown["request_id"])) == (256, 256)
    assert max(map(len, spine.log())) < 2000
