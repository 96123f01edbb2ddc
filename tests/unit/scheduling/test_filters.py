"""Every filter: who stays."""

import pytest

from epp.core.endpoints import Role
from epp.core.scheduling.context import Candidate
from tests.unit.scheduling.builders import candidate, context, plugin


def kept(type_: str, *candidates: Candidate, parameters: str = "{}", **fields: object) -> list[int]:
    chosen = plugin(type_, parameters).keep(context(*candidates, **fields), candidates)
    return [one.endpoint.worker_id for one in chosen]


PODS = [
    candidate(1, labels={"gpu": "h100", "tier": "a"}),
    candidate(2, labels={"gpu": "a100"}),
    candidate(3),
]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{matchLabels: {gpu: h100, tier: a}}", [1]),
        ("{matchExpressions: [{key: gpu, operator: In, values: [h100, a100]}]}", [1, 2]),
        ("{matchExpressions: [{key: gpu, operator: NotIn, values: [h100]}]}", [2, 3]),
        ("{matchExpressions: [{key: gpu, operator: Exists}]}", [1, 2]),
        ("{matchExpressions: [{key: tier, operator: DoesNotExist}]}", [2, 3]),
        ("{}", [1, 2, 3]),
    ],
)
def test_label_selector(parameters: str, expected: list[int]) -> None:
    assert kept("label-selector-filter", *PODS, parameters=parameters) == expected
    assert kept("by-label-selector", *PODS, parameters=parameters) == expected


def test_by_label() -> None:
    assert kept("by-label", *PODS, parameters="{label: gpu, validValues: [a100]}") == [2]
    parameters = "{label: gpu, validValues: [a100], allowsNoLabel: true}"
    assert kept("by-label", *PODS, parameters=parameters) == [2, 3]


def test_roles_by_label_and_by_file() -> None:
    pods = [
        candidate(1),
        candidate(2, role=Role.PREFILL),
        candidate(3, role=Role.DECODE),
        candidate(4, labels={"llm-d.ai/role": "both"}),
        candidate(5, labels={"llm-d.ai/role": "encode-prefill"}),
        candidate(6, labels={"llm-d.ai/role": "decode"}, role=Role.PREFILL),
    ]
    assert kept("prefill-filter", *pods) == [1, 2, 4, 5]
    assert kept("decode-filter", *pods) == [1, 3, 4, 6]
    assert kept("encode-filter", *pods) == [5]


def test_prefix_cache_affinity_stays_unless_waiting_costs_more() -> None:
    holder, other = candidate(1, cached=9, blocks=10), candidate(2, cached=1, blocks=10)
    assert kept("prefix-cache-affinity-filter", holder, other) == [1]
    assert kept("prefix-cache-affinity-filter", other) == [2]
    busy = candidate(1, cached=9, blocks=10, prefill_tokens=3000, rate=1000.0)
    parameters = "{maxTTFTPenaltyMs: 2000}"
    assert kept("prefix-cache-affinity-filter", busy, other, parameters=parameters) == [1, 2]
    assert kept("prefix-cache-affinity-filter", busy, other, parameters="{maxTTFTPenaltyMs: 0}") == [1]


def test_utilization() -> None:
    pods = [
        candidate(1, waiting=3, kv=0.5),
        candidate(2, kv=0.9),
        candidate(3, known=False),
        candidate(4, active=9),
    ]
    caps = (
        "{conditions: [{metric: waiting-queue, maxValue: 0}, {metric: kv-cache-utilization, maxValue: 0.8}]}"
    )
    assert kept("utilization-filter", *pods, parameters=caps) == [3, 4]
    assert kept("utilization-filter", *pods[:2], parameters=caps) == []
    falls_back = caps[:-1] + ", fallbackOnEmpty: true}"
    assert kept("utilization-filter", *pods[:2], parameters=falls_back) == [1, 2]
    active = "{conditions: [{metric: active-requests, maxValue: 5}, {metric: running-requests, maxValue: 5}]}"
    assert kept("utilization-filter", *pods, parameters=active) == [1, 2, 3]


def test_session_affinity_keeps_the_home_while_it_is_there() -> None:
    pods = [candidate(1), candidate(2), candidate(2, rank=1)]
    token = plugin("session-affinity-filter").response_header(pods[1].endpoint)[1]
    assert kept("session-affinity-filter", *pods, headers={"x-session-token": token}) == [2, 2]
    assert kept("session-affinity-filter", pods[0], headers={"x-session-token": token}) == [1]
    assert kept("session-affinity-filter", *pods) == [1, 2, 2]
