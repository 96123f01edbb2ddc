"""What becomes of a booking: streams that end, leases, workers that leave, reports of progress."""

from epp.config.model import RoutingConfig
from epp.core.endpoints import WorkerRank
from epp.core.outcomes import Ending, ResponseFacts
from epp.core.router import ApplyReport, PrefillDone

from .stage import Spine, configured, endpoint, pair, tokens_of, words

DONE = ResponseFacts(status=200)


def running(spine: Spine) -> float:
    return spine.total("llm_d_epp_request_running")


async def test_a_stream_ends_its_booking_once() -> None:
    spine = Spine()
    picked = await spine.picked(words(20))
    assert (running(spine), spine.router.stats().bookings) == (1, 1)
    spine.now_s += 2.5
    spine.picker.finish(picked, Ending.COMPLETED, DONE)
    spine.picker.finish(picked, Ending.ERROR, DONE)
    assert (running(spine), len(spine.active)) == (0, 0)
    spine.active.expire(spine.now_s + 1)
    assert spine.router.stats().bookings == 0
    (shown,) = spine.recent.newest(1)
    assert (shown["ended"], shown["duration_ms"]) == ("completed", 2500.0)
    assert spine.total("llm_d_epp_request_error_total") == 0


async def test_an_event_read_after_the_end_still_tells_the_first_token() -> None:
    spine = Spine(endpoint(1))
    spine.stored(1, tokens_of(words(8, "seen")))  # the worker's block size is known
    picked = await spine.picked(words(20))
    spine.picker.finish(picked, Ending.COMPLETED, DONE)
    spine.now_s += 0.1
    spine.stored(1, tokens_of(words(20)))
    (shown,) = spine.recent.newest(1)
    assert (shown["ttft_ms"], shown["ttft_source"]) == (100.0, "events")
    assert spine.router.stats().bookings == 0


async def test_few_bookings_wait_for_late_events() -> None:
    spine = Spine(bookings=32)
    for number in range(5):
        spine.picker.finish(await spine.picked(words(20, f"w{number}")), Ending.COMPLETED, DONE)
    assert spine.router.stats().bookings == 2


async def test_endings_other_than_complete_are_errors() -> None:
    spine = Spine()
    for ending, facts, code in (
        (Ending.CLIENT_GONE, ResponseFacts(), "client-gone"),
        (Ending.COMPLETED, ResponseFacts(status=500), "500"),
    ):
        spine.picker.finish(await spine.picked(), ending, facts)
        assert spine.value("llm_d_epp_request_error_total", **LABELS, error_code=code) == 1


LABELS = {
    "model_name": "llama",
    "target_model_name": "llama",
    "fairness_id": "default-flow",
    "priority": "0",
}


async def test_an_open_stream_renews_its_lease() -> None:
    spine = Spine(config=configured(lease_s=10.0))
    await spine.picked()
    for _ in range(5):
        spine.now_s += 8
        spine.active.renew_held(spine.now_s)
        spine.active.expire(spine.now_s)
    assert spine.router.stats().bookings == 1


async def test_a_detached_stream_leaves_its_booking_to_lease_and_events() -> None:
    spine = Spine(config=configured(lease_s=10.0))
    spine.learn_block_size()
    picked = await spine.picked(words(20))
    spine.picker.finish(picked, Ending.DETACHED, ResponseFacts())
    assert spine.router.stats().bookings == 1
    spine.now_s += 8
    spine.stored(picked_worker(spine), tokens_of(words(20)))  # the prompt is computed: a sign of life
    spine.active.renew_held(spine.now_s)
    spine.now_s += 8
    spine.active.expire(spine.now_s)
    assert spine.router.stats().bookings == 1
    spine.now_s += 8
    spine.active.renew_held(spine.now_s)
    spine.active.expire(spine.now_s)
    assert (spine.router.stats().bookings, len(spine.active), running(spine)) == (0, 0, 0)
    assert spine.recent.newest(1)[0]["ended"] == "lease-ended"
    assert spine.value("epp_bookings_expired_total") == 1


def picked_worker(spine: Spine) -> int:
    worker: int = spine.recent.newest(1)[0]["worker"]["worker_id"]
    return worker


async def test_a_worker_leaves_with_bookings_in_flight() -> None:
    spine = Spine(endpoint(1))
    picked = await spine.picked(words(20))
    spine.pool(endpoint(2))
    assert spine.router.stats().bookings == 0
    assert spine.recent.newest(1)[0]["ended"] == "worker-gone"
    assert running(spine) == 1  # its stream is still open
    spine.active.renew_held(spine.now_s)
    spine.picker.finish(picked, Ending.COMPLETED, DONE)
    assert (running(spine), len(spine.active)) == (0, 0)
    assert spine.recent.newest(1)[0]["ended"] == "completed"


async def test_a_worker_leaves_after_the_stream_was_let_go() -> None:
    spine = Spine(endpoint(1))
    spine.picker.finish(await spine.picked(), Ending.DETACHED, ResponseFacts())
    spine.pool(endpoint(2))
    assert (running(spine), len(spine.active)) == (0, 0)


async def test_a_stream_is_let_go_after_its_worker_left() -> None:
    spine = Spine(endpoint(1))
    picked = await spine.picked()
    spine.pool(endpoint(2))
    spine.picker.finish(picked, Ending.DETACHED, ResponseFacts())
    assert (running(spine), len(spine.active)) == (0, 0)


async def test_events_tell_the_time_to_the_first_token_of_the_right_request() -> None:
    spine = Spine(endpoint(1))
    spine.learn_block_size()
    await spine.picked(words(20, "a"), request_id="one", stream=True)
    spine.now_s += 1
    await spine.picked(words(20, "b"), request_id="two")
    spine.now_s += 0.5
    spine.stored(1, tokens_of(words(20, "b")))
    one, two = spine.recent.find("one"), spine.recent.find("two")
    assert one is not None
    assert two is not None
    assert (one["ttft_ms"], one["ttft_source"]) == (None, None)
    assert (two["ttft_ms"], two["ttft_source"]) == (500.0, "events")
    assert spine.value("llm_d_epp_request_ttft_seconds_sum", **LABELS, streaming="false") == 0.5
    assert spine.value("llm_d_epp_request_ttft_seconds_count", **LABELS, streaming="true") == 0


async def test_the_prefill_workers_events_count_for_a_split_request() -> None:
    spine = Spine(*pair())
    spine.learn_block_size()
    await spine.picked(words(20), request_id="one")
    spine.now_s += 0.25
    spine.stored(1, tokens_of(words(20)))
    shown = spine.recent.find("one")
    assert shown is not None
    assert (shown["ttft_ms"], shown["ttft_source"]) == (250.0, "events")


async def test_nothing_to_compute_is_shown_as_predicted_and_not_measured() -> None:
    spine = Spine(endpoint(1))
    spine.stored(1, tokens_of(words(20)))
    await spine.picked(words(20))
    (shown,) = spine.recent.newest(1)
    assert (shown["ttft_ms"], shown["ttft_source"]) == (0.0, "predicted")
    assert spine.total("llm_d_epp_request_ttft_seconds_count") == 0


async def test_what_was_not_estimated_is_not_shown() -> None:
    config = configured()
    telemetry = type(config.telemetry)(keep_candidates=False)
    routing = RoutingConfig(policy="kv")  # which predicts only when asked to explain
    spine = Spine(
        endpoint(1), config=type(config)(tokenize=config.tokenize, telemetry=telemetry, routing=routing)
    )
    spine.stored(1, tokens_of(words(20)))
    await spine.picked(words(20))
    assert spine.recent.newest(1)[0]["ttft_ms"] is None


async def test_estimates_of_the_router_are_counted_apart() -> None:
    spine = Spine(endpoint(1))
    picked = await spine.picked(words(20))
    assert picked.booking is not None
    estimate = PrefillDone(picked.booking, at_s=spine.now_s + 1, reserved_at_s=spine.now_s, exact=False)
    spine.active.on_report(WorkerRank(1, 0), ApplyReport(prefill_done=(estimate,), decode_blocks=((1, 3),)))
    assert spine.value("epp_prefill_duration_seconds_sum", source="estimate") == 1
    assert spine.value("epp_output_blocks_total") == 3
    assert spine.recent.newest(1)[0]["ttft_ms"] is None
