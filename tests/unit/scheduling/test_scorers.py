"""Every scorer's formula, and what unknown load means."""

import base64

import pytest

from epp.core.scheduling.context import Candidate, LoraState
from tests.unit.scheduling.builders import candidate, context, plugin


def scores(type_: str, *candidates: Candidate, parameters: str = "{}", **fields: object) -> list[float]:
    return list(plugin(type_, parameters).score(context(*candidates, **fields), candidates))


def test_queue_is_min_max() -> None:
    pods = [candidate(i, waiting=n) for i, n in enumerate((0, 5, 10))]
    assert scores("queue-scorer", *pods) == [1.0, 0.5, 0.0]
    assert scores("queue-scorer", *[candidate(i, waiting=7) for i in range(3)]) == [1.0, 1.0, 1.0]


def test_running_requests_is_min_max() -> None:
    pods = [candidate(i, running=n) for i, n in enumerate((4, 1, 2))]
    assert scores("running-requests-size-scorer", *pods) == pytest.approx([0.0, 1.0, 2 / 3])


def test_kv_cache_utilization_is_the_free_fraction() -> None:
    assert scores("kv-cache-utilization-scorer", candidate(1, kv=0.25), candidate(2, kv=1.0)) == [0.75, 0.0]


def test_load_aware_is_half_of_the_way_to_the_threshold() -> None:
    pods = [candidate(i, waiting=n) for i, n in enumerate((0, 64, 128, 500))]
    assert scores("load-aware-scorer", *pods) == [0.5, 0.25, 0.0, 0.0]
    assert scores("load-aware-scorer", candidate(1, waiting=5), parameters="{threshold: 10}") == [0.25]


@pytest.mark.parametrize(
    "type_",
    ["queue-scorer", "running-requests-size-scorer", "kv-cache-utilization-scorer", "load-aware-scorer"],
)
def test_unknown_load_neither_attracts_nor_repels(type_: str) -> None:
    busy = [candidate(1, waiting=10, running=10, kv=0.9), candidate(2, waiting=20, running=20, kv=0.7)]
    unknown = candidate(3, known=False)
    known = scores(type_, *busy)
    assert scores(type_, *busy, unknown) == pytest.approx([*known, sum(known) / 2])
    assert scores(type_, unknown, candidate(4, known=False)) == [0.5, 0.5]


def test_prefix_cache_is_the_resident_fraction() -> None:
    pods = [candidate(1, cached=5, blocks=10), candidate(2, cached=10, blocks=10), candidate(3, blocks=0)]
    assert scores("prefix-cache-scorer", *pods) == [0.5, 1.0, 0.0]
    weighted = scores(
        "prefix-cache-scorer", pods[0], parameters="{matchLengthWeight: 0.5, matchLengthScaleTokens: 160}"
    )
    assert weighted == [0.5 * 0.5 + 0.5 * 0.25]


def test_the_precise_one_is_the_same_and_takes_its_old_parameters() -> None:
    parameters = (
        "{tokenProcessorConfig: {blockSize: 64}, indexerConfig: {}, kvEventsConfig: {topicFilter: kv}}"
    )
    assert scores("precise-prefix-cache-scorer", candidate(1, cached=5), parameters=parameters) == [0.5]


def test_lora_affinity() -> None:
    pods = [
        candidate(1, lora=LoraState(active=frozenset({"a"}), max_active=1)),
        candidate(2, lora=LoraState(active=frozenset({"b"}), max_active=2)),
        candidate(3, lora=LoraState(active=frozenset({"b"}), waiting=frozenset({"a"}), max_active=2)),
        candidate(4, lora=LoraState(active=frozenset({"b", "c"}), max_active=2)),
    ]
    assert scores("lora-affinity-scorer", *pods, lora="a") == [1.0, 0.8, 0.6, 0.0]
    assert scores("lora-affinity-scorer", *pods) == [1.0] * 4
    assert scores("lora-affinity-scorer", pods[0], candidate(5), lora="a") == [1.0, 1.0]


def test_active_requests() -> None:
    pods = [candidate(i, active=n) for i, n in enumerate((0, 1, 4))]
    assert scores("active-request-scorer", *pods) == [1.0, 0.75, 0.0]
    spaced = scores("active-request-scorer", *pods, parameters="{idleThreshold: 1, maxBusyScore: 0.5}")
    assert spaced == [1.0, 1.0, 0.0]
    assert scores("active-request-scorer", candidate(1, active=3)) == [0.0]


def test_token_load() -> None:
    pods = [candidate(1), candidate(2, prefill_tokens=25), candidate(3, prefill_tokens=1000)]
    assert scores("token-load-scorer", *pods, parameters="{queueThresholdTokens: 100}") == [1.0, 0.75, 0.0]


def test_context_length_prefers_the_narrow_range_that_fits() -> None:
    label = "llm-d.ai/context-length-range"
    narrow, wide, far, none, bad = (
        candidate(i, labels={label: text} if text else {})
        for i, text in enumerate(("0-2048", "0-100000", "50000-60000", "", "x-y"))
    )
    result = scores("context-length-aware", narrow, wide, far, none, bad, prompt_tokens=1000)
    assert result[0] > result[1] > 0.3 > result[2] > result[4] == 0.0
    assert result[3] == 0.5
    scorer = plugin("context-length-aware", "{enableFiltering: true}")
    asked = context(narrow, far, none, bad, prompt_tokens=1000)
    assert scorer.keep(asked, asked.candidates) == [narrow, none]


def test_header_label_affinity() -> None:
    pods = [candidate(1, labels={"zone": "a"}), candidate(2, labels={"zone": "b"}), candidate(3)]
    parameters = "{headerName: X-Zone, labelKey: zone}"
    assert scores("header-label-affinity-scorer", *pods, parameters=parameters, headers={"x-zone": "b"}) == [
        0,
        1,
        0,
    ]
    assert scores("header-label-affinity-scorer", *pods, parameters=parameters) == [0, 0, 0]


def test_no_hit_lru_spreads_cold_requests() -> None:
    scorer = plugin("no-hit-lru-scorer")
    pods = [candidate(i) for i in range(3)]
    asked = context(*pods)
    for turn in range(6):
        best = max(zip(scorer.score(asked, pods), range(3), strict=True), key=lambda pair: pair[0])[1]
        assert best == turn % 3
        scorer.chosen(asked, pods[best])
    warm = context(candidate(1, cached=1), candidate(2))
    assert scorer.score(warm, warm.candidates) == [0.5, 0.5]
    assert scorer.score(context(pods[0]), pods[:1]) == [1.0]


class TestSessions:
    def test_the_token_is_the_name_of_the_endpoint(self) -> None:
        pods = [candidate(1), candidate(2)]
        scorer = plugin("session-affinity-scorer")
        name, token = scorer.response_header(pods[1].endpoint)
        assert (name, base64.b64decode(token)) == ("x-session-token", b"default/pod-2")
        assert scorer.score(context(*pods, headers={name: token}), pods) == [0.0, 1.0]
        assert scorer.score(context(*pods, headers={name: "no base64!"}), pods) == [0.0, 0.0]

    def test_an_id_is_bound_to_the_choice_until_it_is_unused_for_long(self) -> None:
        pods = [candidate(1), candidate(2)]
        scorer = plugin(
            "session-affinity-scorer", "{strategy: session_id, sessionIdConfig: {evictionTtlSeconds: 10}}"
        )
        first = context(*pods, headers={"x-session-id": "s"})
        assert scorer.score(first, pods) == [0.0, 0.0]
        scorer.chosen(first, pods[1])
        assert scorer.score(context(*pods, headers={"x-session-id": "s"}, now_s=9.0), pods) == [0.0, 1.0]
        assert scorer.score(context(*pods, headers={"x-session-id": "s"}, now_s=11.0), pods) == [0.0, 0.0]
        assert scorer.response_header(pods[0].endpoint) is None

    def test_the_doors_own_session_counts_when_no_header_names_one(self) -> None:
        pods = [candidate(1), candidate(2)]
        scorer = plugin("session-affinity-scorer", "{strategy: session_id}")
        scorer.chosen(context(*pods, session="s"), pods[0])
        assert scorer.score(context(*pods, session="s"), pods) == [1.0, 0.0]
