"""``nvext`` and ``router_config_override``: strict types, and what routing keeps of them."""

import array
import json
from typing import Any

import pytest

from epp.core.errors import BadRequestError
from epp.core.requests import AgentHints, NvExt, RouterOverrides
from epp.wire.openai import parse_request

ALLOWED = (
    "greed_sampling, use_raw_prompt, annotations, backend_instance_id, token_data, max_thinking_tokens, "
    "cache_salt, extra_fields, metadata_upload, prefill_worker_id, decode_worker_id, dp_rank, "
    "prefill_dp_rank, agent_hints, request_timestamp_ms, routing_constraints, router"
)


def read(nvext: Any = None, override: Any = None) -> NvExt:
    fields: dict[str, Any] = {"model": "m", "prompt": "a", "nvext": nvext}
    if override is not None:
        fields["router_config_override"] = override
    return parse_request("/v1/completions", json.dumps(fields).encode()).nvext


def refusal(nvext: Any = None, override: Any = None) -> str:
    with pytest.raises(BadRequestError) as caught:
        read(nvext, override)
    return caught.value.message


def test_every_field_that_routes_is_kept() -> None:
    sent = {
        "greed_sampling": True,
        "use_raw_prompt": True,
        "annotations": ["request_id", "query_instance_id:"],
        "backend_instance_id": 2**64 - 1,
        "token_data": [0, 7, 2**32 - 1],
        "max_thinking_tokens": 5,
        "cache_salt": "s",
        "extra_fields": ["timing"],
        "metadata_upload": {"url": "http://x"},
        "prefill_worker_id": 2,
        "decode_worker_id": 3,
        "dp_rank": 4,
        "prefill_dp_rank": 5,
        "agent_hints": {"priority": -6, "strict_priority": 7, "osl": 8, "speculative_prefill": True},
        "request_timestamp_ms": 1.5,
        "routing_constraints": {"required_taints": ["a", "b"], "preferred_taints": {"c": 0.5, "d": 2}},
        "router": {"ttft_target": 250, "itl_target": 20.5},
    }
    assert read(sent) == NvExt(
        token_data=array.array("I", [0, 7, 2**32 - 1]).tobytes(),
        backend_instance_id=2**64 - 1,
        prefill_worker_id=2,
        decode_worker_id=3,
        dp_rank=4,
        prefill_dp_rank=5,
        cache_salt="s",
        annotations=("request_id", "query_instance_id:"),
        agent_hints=AgentHints(priority=-6, strict_priority=7, expected_output_tokens=8),
        required_taints=frozenset({"a", "b"}),
        preferred_taints=(("c", 0.5), ("d", 2.0)),
        use_raw_prompt=True,
        ttft_target_ms=250.0,
        itl_target_ms=20.5,
    )


@pytest.mark.parametrize("sent", [None, {}, dict.fromkeys(ALLOWED.split(", "))])
def test_absent_empty_and_null_mean_the_same(sent: Any) -> None:
    assert read(sent) == NvExt()


def test_an_unknown_key_is_refused_with_the_list_of_those_allowed() -> None:
    expected = f"Field `nvext`: object contains unknown field `worker`; allowed are {ALLOWED}."
    assert refusal({"worker": 1}) == expected
    assert len(ALLOWED.split(", ")) == 17


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (
            {"agent_hints": {"prio": 1}},
            (
                "Field `nvext.agent_hints`: object contains unknown field `prio`; allowed are priority, "
                "strict_priority, osl, speculative_prefill, latency_sensitivity."
            ),
        ),
        (
            {"routing_constraints": {"x": 1}},
            (
                "Field `nvext.routing_constraints`: object contains unknown field `x`; allowed are "
                "required_taints, preferred_taints."
            ),
        ),
        (
            {"router": {"x": 1}},
            "Field `nvext.router`: object contains unknown field `x`; allowed are ttft_target, itl_target.",
        ),
        (
            {"metadata_upload": {"x": 1}},
            "Field `nvext.metadata_upload`: object contains unknown field `x`; allowed are url.",
        ),
        ({"dp_rank": -1}, "Field `nvext.dp_rank`: expected `int` >= 0."),
        ({"dp_rank": 2**32}, "Field `nvext.dp_rank`: expected `int` <= 4294967295."),
        ({"dp_rank": "1"}, "Field `nvext.dp_rank`: expected `int | null`, got `str`."),
        ({"token_data": [1, -1]}, "Field `nvext.token_data[1]`: expected `int` >= 0."),
        ({"token_data": "1"}, "Field `nvext.token_data`: expected `array | null`, got `str`."),
        (
            {"backend_instance_id": 2**64},
            "Field `nvext.backend_instance_id`: expected `int` <= 18446744073709551615.",
        ),
        (
            {"decode_worker_id": 2**64},
            "Field `nvext.decode_worker_id`: expected `int` <= 18446744073709551615.",
        ),
        ({"annotations": [1]}, "Field `nvext.annotations[0]`: expected `str`, got `int`."),
        (5, "Field `nvext`: expected `object | null`, got `int`."),
    ],
)
def test_types_are_checked(sent: Any, message: str) -> None:
    assert refusal(sent) == message


@pytest.mark.parametrize(
    ("hints", "priority"),
    [
        ({"latency_sensitivity": 2.9}, 2),
        ({"latency_sensitivity": -3}, 0),
        ({"latency_sensitivity": 1e300}, 2**31 - 1),
        ({"latency_sensitivity": 9, "priority": 1}, 1),
        ({"latency_sensitivity": 9, "priority": 0}, 0),
    ],
)
def test_latency_sensitivity_is_an_old_name_of_priority(hints: dict[str, Any], priority: int) -> None:
    assert read({"agent_hints": hints}).agent_hints.priority == priority


def test_the_largest_rank_means_none() -> None:
    kept = read({"dp_rank": 2**32 - 1, "prefill_dp_rank": 2**32 - 1})
    assert (kept.dp_rank, kept.prefill_dp_rank) == (None, None)


@pytest.mark.parametrize("nvext", [None, {}])
def test_overrides_stand_beside_nvext(nvext: Any) -> None:
    sent = {
        "overlap_score_credit": 0.5,
        "prefill_load_scale": 2,
        "router_temperature": 0.1,
        "assume_kv_reuse": False,
        "track_prefill_tokens": False,
        "shared_cache_multiplier": 0.5,
        "of_tomorrow": 1,
    }
    assert read(nvext, sent).overrides == RouterOverrides(0.5, 2.0, 0.1, False, False)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"overlap_score_weight": 2}, RouterOverrides(prefill_load_scale=2.0)),
        ({"overlap_score_weight": 0}, RouterOverrides(prefill_load_scale=0.0, overlap_credit=0.0)),
        ({"overlap_score_weight": 2, "prefill_load_scale": 3}, RouterOverrides(prefill_load_scale=3.0)),
        (
            {"overlap_score_weight": 0, "overlap_score_credit": 1},
            RouterOverrides(prefill_load_scale=0.0, overlap_credit=1.0),
        ),
    ],
)
def test_overlap_score_weight_is_an_old_name(sent: dict[str, Any], expected: RouterOverrides) -> None:
    assert read(None, sent).overrides == expected


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (
            {"router_temperature": -1},
            "Field `router_config_override.router_temperature`: expected `float` >= 0.0.",
        ),
        (
            {"shared_cache_multiplier": 2},
            "Field `router_config_override.shared_cache_multiplier`: expected `float` <= 1.0.",
        ),
    ],
)
def test_overrides_have_ranges(sent: dict[str, Any], message: str) -> None:
    assert refusal(None, sent) == message
