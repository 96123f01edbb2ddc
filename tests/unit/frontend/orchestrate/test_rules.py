"""Thresholds, pairs and ``enforce``."""

import pytest

from epp.core.endpoints import Endpoint, EngineKind, PoolSnapshot, Role
from epp.core.outcomes import Picked
from epp.core.tokens import Exactness, Tokenized
from frontend.config.model import DisaggConfig
from frontend.errors import ApiError
from frontend.orchestrate import rules
from frontend.orchestrate.failures import Reason
from frontend.pipeline.call import Leg, Route


def leg(number: int, role: Role, engine: EngineKind = EngineKind.VLLM, namespace: str = "default") -> Leg:
    return Leg(Endpoint(f"w{number}", "10.0.0.1", 8000 + number, number, namespace, role, engine))


DECODE, PREFILL = leg(1, Role.DECODE), leg(2, Role.PREFILL)


def tokens(count: int) -> Tokenized:
    return Tokenized(b"", Exactness.EXACT, count)


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (Route(DECODE), None),
        (Route(DECODE, tokens=tokens(99)), Reason.PROMPT_BELOW),
        (Route(DECODE, tokens=tokens(100)), None),
        (Route(DECODE, tokens=tokens(100), uncached_tokens=9), Reason.UNCACHED_BELOW),
        (Route(DECODE, tokens=tokens(100), uncached_tokens=10), None),
        (Route(DECODE, uncached_tokens=0), Reason.UNCACHED_BELOW),
    ],
)
def test_both_thresholds_have_to_be_met_and_the_unknown_meets_them(
    route: Route, reason: Reason | None
) -> None:
    assert rules.below(DisaggConfig(min_prompt_tokens=100, min_uncached_tokens=10), route) is reason


@pytest.mark.parametrize(("picked", "status"), [(None, 400), (Picked((), "r"), 503)])
def test_a_pair_of_two_engines_is_refused(picked: Picked | None, status: int) -> None:
    other = leg(3, Role.PREFILL, EngineKind.SGLANG)
    with pytest.raises(ApiError, match="cannot serve one request together") as caught:
        rules.check_pair(Route(DECODE, other, picked=picked), other)
    assert caught.value.status == status
    rules.check_pair(Route(DECODE, PREFILL), PREFILL)


def test_enforced_a_decode_worker_is_not_left_alone() -> None:
    config = DisaggConfig(enforce=True)
    pool = PoolSnapshot.of([DECODE.endpoint, PREFILL.endpoint])
    with pytest.raises(ApiError) as caught:
        rules.check_whole(config, Route(DECODE), pool)
    assert caught.value.status == 503


def test_enforced_but_excused() -> None:
    config = DisaggConfig(enforce=True, min_uncached_tokens=10)
    pool = PoolSnapshot.of([DECODE.endpoint, PREFILL.endpoint])
    elsewhere = leg(4, Role.PREFILL, namespace="other")
    rules.check_whole(config, Route(DECODE, uncached_tokens=9), pool)
    rules.check_whole(config, Route(leg(5, Role.AGGREGATED)), pool)
    rules.check_whole(config, Route(DECODE), PoolSnapshot.of([DECODE.endpoint, elsewhere.endpoint]))
