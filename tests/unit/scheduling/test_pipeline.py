"""Whole policies: weights, explanation, splitting, and what a foreign plugin may do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from epp.config.errors import ConfigError
from epp.config.model import Config
from epp.core.endpoints import PoolSnapshot, Role
from epp.core.rng import SplitMix64
from epp.core.router import Phase
from epp.core.scheduling.building import policy_for
from epp.core.scheduling.context import Candidate, candidates_of
from epp.core.scheduling.foreign import ForeignPlugin
from epp.core.scheduling.pipeline import PolicyChoice
from tests.unit.scheduling.builders import build, candidate, context

CHART = """
plugins: [{type: queue-scorer}, {type: kv-cache-utilization-scorer}, {type: prefix-cache-scorer}]
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: kv-cache-utilization-scorer, weight: 2}
  - {pluginRef: prefix-cache-scorer, weight: 3}
"""
SPLIT = """
plugins:
- {type: prefix-cache-scorer}
- {type: prefill-filter}
- {type: decode-filter}
- {type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}
- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 16, promptTokens: 64}}
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer}]}
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: prefix-cache-scorer}]}
"""


def workers(ranked: Sequence[Any]) -> list[int]:
    return [one.worker.worker_id for one in ranked]


def choose(text: str, *candidates: Candidate, seed: int = 1, **fields: Any) -> PolicyChoice:
    return build(text).policy.choose(context(*candidates, **fields), SplitMix64(seed))


def test_the_chart_profile_weighs_queue_kv_and_prefix() -> None:
    busy_holder = candidate(1, waiting=4, kv=0.5, cached=8, blocks=10)
    idle = candidate(2, waiting=0, kv=0.1)
    choice = choose(CHART, busy_holder, idle)
    (explained,) = choice.explanation
    totals = {row.worker.worker_id: row.total for row in explained.scores}
    assert totals == pytest.approx({1: 2 * 0.0 + 2 * 0.5 + 3 * 0.8, 2: 2 * 1.0 + 2 * 0.9 + 3 * 0.0})
    assert workers(choice.primary) == [2]
    assert choice.primary[0].score == pytest.approx(3.8)
    assert choice.prefill == ()


def test_the_explanation_is_ready_for_json() -> None:
    (explained,) = choose(CHART, candidate(1), candidate(2, known=False)).explanation
    rows = {row["worker_id"]: row for row in explained.rows()}
    assert rows[1]["scores"]["queue-scorer"] == {"weight": 2.0, "score": 1.0}
    assert rows[2]["load_known"] is False
    assert {row["profile"] for row in rows.values()} == {"default"}


def test_who_a_filter_leaves_out_is_explained_and_nobody_is_an_answer() -> None:
    text = "plugins: [{type: by-label, parameters: {label: l, validValues: [x]}}, {type: queue-scorer}]"
    choice = choose(text, candidate(1, labels={"l": "x"}), candidate(2))
    assert workers(choice.primary) == [1]
    assert [row.dropped_by for row in choice.explanation[0].scores] == [None, "by-label"]
    assert choose(text, candidate(2)).primary == ()
    assert choose(text).primary == ()


def test_the_default_profile_and_fallbacks_come_from_the_configuration() -> None:
    from dataclasses import replace

    config = Config()
    config = replace(config, routing=replace(config.routing, fallback_endpoints=2))
    policy = policy_for(config, clock=lambda: 0.0).policy
    choice = policy.choose(context(*[candidate(i, waiting=i) for i in range(5)]), SplitMix64(1))
    assert workers(choice.primary) == [0, 1, 2]


class TestSplit:
    PREFILL = candidate(1, role=Role.PREFILL, phase=Phase.PREFILL)
    DECODE = candidate(2, role=Role.DECODE, phase=Phase.DECODE)

    def test_a_long_cold_prompt_is_split(self) -> None:
        choice = choose(SPLIT, self.PREFILL, self.DECODE, prompt_tokens=160)
        assert (workers(choice.primary), workers(choice.prefill)) == ([2], [1])
        assert [one.phase for one in choice.explanation] == [Phase.DECODE, Phase.PREFILL]

    def test_a_short_or_resident_prompt_is_not(self) -> None:
        assert choose(SPLIT, self.PREFILL, self.DECODE, prompt_tokens=63).prefill == ()
        resident = candidate(2, role=Role.DECODE, phase=Phase.DECODE, cached=10)
        assert choose(SPLIT, self.PREFILL, resident, prompt_tokens=165).prefill == ()

    def test_zero_tokens_means_never_and_always_means_always(self) -> None:
        never = SPLIT.replace("nonCachedTokens: 16", "nonCachedTokens: 0")
        assert choose(never, self.PREFILL, self.DECODE, prompt_tokens=10_000).prefill == ()
        always = SPLIT.replace("nonCachedTokens: 16, promptTokens: 64", "").replace(
            "prefix-based-pd-decider", "always-disagg-pd-decider"
        )
        assert workers(choose(always, self.PREFILL, self.DECODE).prefill) == [1]

    def test_without_another_worker_the_request_stays_whole(self) -> None:
        both = candidate(3)
        choice = choose(SPLIT, both, prompt_tokens=160)
        assert (workers(choice.primary), choice.prefill) == ([3], ())

    def test_a_single_profile_never_sends_whole_requests_to_prefill_workers(self) -> None:
        assert workers(choose(CHART, self.PREFILL, self.DECODE).primary) == [2]


def test_a_question_that_sends_nothing_is_not_remembered() -> None:
    policy = build("plugins: [{type: no-hit-lru-scorer}]").policy
    asked = context(candidate(1), candidate(2))
    first = workers(policy.choose(asked, SplitMix64(1), remember=False).primary)
    assert workers(policy.choose(asked, SplitMix64(1)).primary) == first
    assert workers(policy.choose(asked, SplitMix64(1)).primary) != first


PAYLOAD_AGNOSTIC = """
plugins: [{type: passthrough-parser}, {type: active-request-scorer}, {type: session-affinity-scorer}]
requestHandler: {parsers: [{pluginRef: passthrough-parser}]}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: active-request-scorer, weight: 1}
  - {pluginRef: session-affinity-scorer, weight: 1}
"""
PRECISE = """
plugins:
- {type: token-producer, parameters: {modelName: m, vllm: {url: "http://localhost:8000"}}}
- {type: endpoint-notification-source}
- {type: metrics-data-source}
- {type: core-metrics-extractor}
- {type: single-profile-handler}
- {type: decode-filter}
- {type: precise-prefix-cache-producer, parameters: {tokenProcessorConfig: {blockSize: 64}}}
- {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}}
- {type: queue-scorer}
- {type: max-score-picker}
dataLayer:
  sources:
  - {pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}
  - {pluginRef: endpoint-notification-source, extractors: [{pluginRef: precise-prefix-cache-producer}]}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: decode-filter}
  - {pluginRef: prefix-cache-scorer, weight: 2.0}
  - {pluginRef: queue-scorer, weight: 1.0}
  - {pluginRef: max-score-picker}
"""


class TestFilesWrittenForOtherPickers:
    def test_a_session_stays_and_the_client_gets_its_token(self) -> None:
        policy = build(PAYLOAD_AGNOSTIC).policy
        pods = (candidate(1, active=1), candidate(2))
        first = policy.choose(context(*pods), SplitMix64(1))
        assert workers(first.primary) == [2]
        later = (candidate(1), candidate(2, active=1))
        second = policy.choose(context(*later, headers=dict(first.response_headers)), SplitMix64(4))
        assert second.explanation[0].totals == [1.0, 1.0]

    def test_exact_prefixes_with_data_sources_of_their_own(self) -> None:
        built = build(PRECISE)
        choice = built.policy.choose(context(candidate(1, cached=10, waiting=1), candidate(2)), SplitMix64(1))
        assert workers(choice.primary) == [1]
        assert len(built.notes) == 2


class TestBuilding:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "plugins: [{type: latency-scorer}]",
                "these types are not supported: 'latency-scorer' (plugins[0]); filters: label",
            ),
            (
                "plugins: [{type: load-aware-scorer, parameters: {treshold: 1}}]",
                "plugins[0].parameters.treshold in f",
            ),
            (
                "plugins: [{type: load-aware-scorer, parameters: {threshold: 0}}]",
                "must be a whole number from 1",
            ),
            (
                "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: 0}}]",
                "whole number from 1 to 64",
            ),
            ("plugins: [{type: queue-scorer, parameters: {x: 1}}]", "known: nothing"),
            ("plugins: [{type: by-label, parameters: {label: a}}]", "validValues in f must not be empty"),
            ("plugins: [{type: utilization-filter}]", "must list at least one condition"),
            (
                "plugins: [{type: utilization-filter, parameters: {conditions: [{metric: x, maxValue: 1}]}}]",
                "must be one of active-requests",
            ),
            (
                (
                    "plugins: [{type: label-selector-filter, parameters: {matchExpressions: [\n"
                    "{key: a, operator: Exists, values: [b]}]}}]"
                ),
                "must be empty for Exists",
            ),
            ("plugins: [{type: random-picker}, {type: max-score-picker}]", "names more than one picker"),
            ("plugins: [{type: metrics-data-source, parameters: {path: /m}}]", "must be one of /metrics"),
            (
                "plugins: [{type: single-profile-handler}, {type: disagg-profile-handler}]",
                "more than one profile handler",
            ),
            (
                "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: a}, {name: b}]",
                "runs one profile, but there are a, b",
            ),
            ("plugins: [{type: disagg-profile-handler}]", "wants a profile 'decode', but there are default"),
            (
                (
                    "plugins: [{type: disagg-profile-handler, parameters: {deciders: {prefill: d}}}]\n"
                    "schedulingProfiles: [{name: decode}, {name: prefill}]"
                ),
                "the prefill decider 'd' is no decider",
            ),
            (
                "plugins: [{type: disagg-profile-handler, parameters: {deciders: {encode: d}}}]",
                "deciders.encode in f is not supported",
            ),
        ],
    )
    def test_refused_by_name(self, text: str, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            build(text)
        assert says in str(caught.value)

    def test_every_wrong_plugin_is_told(self) -> None:
        with pytest.raises(ConfigError) as caught:
            build("plugins: [{type: queue-scorer, parameters: {a: 1}}, {type: by-label}]")
        assert len(caught.value.problems) == 2
        with pytest.raises(ConfigError, match=r"'a' \(plugins\[0\]\), 'b' \(plugins\[1\]\)"):
            build("plugins: [{type: a}, {type: b}]")

    def test_the_older_handlers_parameters(self) -> None:
        text = SPLIT.replace(
            "{type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}",
            "{type: pd-profile-handler, parameters: {decodeProfile: decode, prefillProfile: prefill,"
            " deciderPluginName: prefix-based-pd-decider, prefixPluginName: prefix-cache-scorer}}",
        )
        assert workers(choose(text, TestSplit.PREFILL, TestSplit.DECODE, prompt_tokens=160).prefill) == [1]

    def test_parameters_of_stand_ins_are_noted(self) -> None:
        notes = build(
            "plugins: [{type: queue-scorer}, {type: token-producer, parameters: {modelName: m}}]"
        ).notes
        assert len(notes) == 1
        assert "token-producer" in notes[0]

    def test_a_weight_on_a_filter_is_noted(self) -> None:
        use = "{pluginRef: decode-filter, weight: 2}"
        text = f"plugins: [{{type: decode-filter}}]\nschedulingProfiles: [{{name: a, plugins: [{use}]}}]"
        assert "is no scorer" in build(text).notes[0]


class _Scorer:
    def __init__(self, answer: Callable[[int], Any]) -> None:
        self._answer = answer

    def score(self, context: Any, candidates: Sequence[Candidate]) -> Any:
        return self._answer(len(candidates))


class _Filter:
    def keep(self, context: Any, candidates: Sequence[Candidate]) -> Any:
        raise RuntimeError("out of order")


class _Picker:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def pick(self, context: Any, scored: Any, rng: SplitMix64) -> Any:
        return self._answer(scored)


def foreign(made: Any, group: str = "epp.scorers", type_: str = "mine") -> ForeignPlugin:
    def factory(parameters: Mapping[str, Any]) -> object:
        if isinstance(made, Exception):
            raise made
        return made

    return ForeignPlugin(type_, group, "somebody", lambda: factory)


def _raise(_: int) -> Any:
    raise ZeroDivisionError("oops")


class TestForeign:
    PODS = (candidate(1, waiting=1), candidate(2, waiting=0))
    BOTH = "plugins: [{type: queue-scorer}, {type: mine}]"

    @pytest.mark.parametrize(
        "answer",
        [
            _raise,
            lambda n: [1.0] * (n + 1),
            lambda n: None,
            lambda n: ["x"] * n,
            lambda n: [float("nan")] * n,
        ],
        ids=["raises", "too many", "none", "text", "nan"],
    )
    def test_a_scorer_that_fails_is_neutral_and_counted(self, answer: Callable[[int], Any]) -> None:
        built = build(self.BOTH, foreign=[foreign(_Scorer(answer))])
        choice = built.policy.choose(context(*self.PODS), SplitMix64(1))
        assert workers(choice.primary) == [2]
        assert {part.score for row in choice.explanation[0].scores for part in row.parts[1:]} == {0.5}
        (reading,) = built.policy.readings()
        assert (reading.plugin, reading.calls, reading.failures) == ("mine", 1, 1)
        assert reading.last_error

    def test_what_it_learns_and_stamps_is_guarded_too(self) -> None:
        class Learning(_Scorer):
            def chosen(self, context: Any, candidate: Candidate) -> None:
                raise KeyError("lost")

            def response_header(self, endpoint: Any) -> Any:
                return ("X-Mine", endpoint.name)

        built = build("plugins: [{type: mine}]", foreign=[foreign(Learning(lambda n: [0.0, 1.0]))])
        choice = built.policy.choose(context(*self.PODS), SplitMix64(1))
        assert choice.response_headers == (("x-mine", "pod-2"),)
        (reading,) = built.policy.readings()
        assert (reading.calls, reading.failures) == (3, 1)

    def test_scores_out_of_range_are_clamped(self) -> None:
        built = build("plugins: [{type: mine}]", foreign=[foreign(_Scorer(lambda n: [7.0, -7.0]))])
        choice = built.policy.choose(context(*self.PODS), SplitMix64(1))
        assert [row.total for row in choice.explanation[0].scores] == [1.0, 0.0]

    def test_a_filter_that_fails_keeps_everyone(self) -> None:
        built = build(self.BOTH, foreign=[foreign(_Filter(), "epp.filters")])
        assert workers(built.policy.choose(context(*self.PODS), SplitMix64(1)).primary) == [2]
        assert built.policy.readings()[0].failures == 1

    @pytest.mark.parametrize(
        "answer", [lambda scored: 1 / 0, lambda scored: [], lambda scored: [scored[0], scored[0]]]
    )
    def test_a_picker_that_fails_picks_the_best_score(self, answer: Any) -> None:
        built = build(self.BOTH, foreign=[foreign(_Picker(answer), "epp.pickers")])
        assert workers(built.policy.choose(context(*self.PODS), SplitMix64(1)).primary) == [2]
        assert built.policy.readings()[0].failures == 1

    def test_a_picker_that_works_decides(self) -> None:
        built = build(self.BOTH, foreign=[foreign(_Picker(lambda scored: scored[:1]), "epp.pickers")])
        assert workers(built.policy.choose(context(*self.PODS), SplitMix64(1)).primary) == [1]
        assert built.policy.readings()[0].failures == 0

    def test_a_slow_plugin_is_measured(self) -> None:
        ticks = iter([0.0, 0.5, 1.0, 1.0005])
        built = build(
            "plugins: [{type: mine}]",
            foreign=[foreign(_Scorer(lambda n: [0.0] * n))],
            clock=lambda: next(ticks),
        )
        for _ in range(2):
            built.policy.choose(context(*self.PODS), SplitMix64(1))
        (reading,) = built.policy.readings()
        assert (reading.calls, reading.slow, reading.worst_s) == (2, 1, 0.5)
        assert reading.seconds == pytest.approx(0.5005)

    @pytest.mark.parametrize(
        ("plugin", "says"),
        [
            (foreign(ValueError("no zone")), "cannot be made: ValueError: no zone"),
            (foreign(object()), "is not what epp.scorers asks for"),
            (foreign(_Scorer(len), type_="queue-scorer"), "that is not unique: see somebody"),
        ],
    )
    def test_refused_at_start(self, plugin: ForeignPlugin, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            build(f"plugins: [{{type: {plugin.type}}}]", foreign=[plugin])
        assert says in str(caught.value)


def test_candidates_come_from_terms_and_pool() -> None:
    pods = [candidate(1), candidate(2)]
    pool = PoolSnapshot.of([pods[0].endpoint])
    (one,) = candidates_of([pod.terms for pod in pods], pool, unknown_load={pods[0].worker})
    assert (one.endpoint.worker_id, one.load, one.lora) == (1, None, None)
