"""Picks and refusals as a host hears them."""

from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.outcomes import DropReason, Picked, Refused
from epp.core.router import Selection
from epp.core.tokens import Exactness, Tokenized
from epp.embedding.answer import of_choice, of_refusal
from epp.embedding.status import Status
from epp.picking.choice import Choice
from epp.picking.picker import Chosen

POOL = PoolSnapshot.of(Endpoint(f"w{i}", f"10.0.0.{i}", 8000, worker_id=i) for i in (1, 2))
TOKENS = Tokenized(b"\1\0\0\0", Exactness.EXACT, 1)


def chosen(prefill: WorkerRank | None = None, **changes: object) -> Chosen:
    selection = Selection(
        worker=WorkerRank(1, 0), prefill=prefill, prompt_tokens=1, cached_tokens=0, best_cached_tokens=0,
        block_tokens=16, uncached_tokens=1.0, cost=1.0, predicted_ttft_s=0.5,
    )  # fmt: skip
    picked = Picked(**{"destinations": ("10.0.0.1:8000", "10.0.0.2:8000"), "request_id": "r", **changes})  # type: ignore[arg-type]
    return Chosen(picked, Choice("kv", selection), TOKENS)


def test_the_destination_is_a_header_too_with_its_fallbacks() -> None:
    answer = of_choice(chosen(set_headers=(("x-a", "1"),)), (), POOL)
    assert answer.destination == "10.0.0.1:8000"
    assert answer.set_headers == (
        ("x-gateway-destination-endpoint", "10.0.0.1:8000,10.0.0.2:8000"),
        ("x-a", "1"),
    )
    assert (answer.status, answer.http_status, answer.booking) == (Status.OK, 200, 0)


def test_a_split_names_both_workers() -> None:
    answer = of_choice(chosen(WorkerRank(2, 3)), (), POOL)
    assert (answer.worker, answer.prefill) == (WorkerRank(1, 0), WorkerRank(2, 3))
    assert answer.prefill_destination == "10.0.0.2:8000"


def test_what_is_set_is_not_removed() -> None:
    picked = chosen(set_headers=(("x-pin", "1"),), remove_headers=("x-other", "x-pin"))
    assert of_choice(picked, ("x-pin", "x-client", "x-other"), POOL).remove_headers == ("x-client", "x-other")


def test_headers_that_break_messages_are_not_set() -> None:
    answer = of_choice(chosen(set_headers=(("content-length", "1"), ("x-a", "b\n"))), (), POOL)
    assert [name for name, _ in answer.set_headers] == ["x-gateway-destination-endpoint"]


def test_refusals_are_responses() -> None:
    for http_status, status in ((400, Status.REFUSED), (429, Status.SATURATED), (503, Status.NO_ENDPOINTS)):
        answer = of_refusal(Refused(http_status, "sorry", DropReason.SATURATED, (("retry-after", "1"),)))
        assert (answer.status, answer.http_status, answer.reason) == (status, http_status, "sorry")
        assert ("retry-after", "1") in answer.set_headers
        assert b'"message": "sorry"' in answer.body
