"""Routing headers: names and aliases, unreadable values, and precedence over the body."""

from typing import Any

import pytest

from epp.core.endpoints import WorkerRank
from epp.core.intent import ANY_RANK, RoutingHeaders, RoutingIntent
from epp.core.requests import AgentHints, Api, InferenceRequest, NvExt, RouterOverrides
from epp.wire.headers import merge, read_routing_headers


def request(nvext: NvExt | None = None, **fields: Any) -> InferenceRequest:
    return InferenceRequest(api=Api.CHAT, model="m", prompt=None, nvext=nvext or NvExt(), **fields)


def test_every_header_has_its_field() -> None:
    sent = {
        "x-request-id": "r1",
        "x-tenant-id": "t",
        "x-dynamo-request-priority": "-5",
        "x-dynamo-request-strict-priority": "6",
        "x-dynamo-policy-class": "gold",
        "x-dynamo-meta-policy-class": "metal",
        "x-dynamo-session-id": "s",
        "x-dynamo-parent-session-id": "p",
        "x-dynamo-session-final": "TRUE",
        "x-dynamo-worker-instance-id": "18446744073709551615",
        "x-dynamo-dp-rank": "1",
        "x-dynamo-prefill-instance-id": "2",
        "x-dynamo-prefill-dp-rank": "3",
        "x-llm-d-model-name-rewrite": "big",
        "x-llm-d-inference-objective": "fast",
        "x-llm-d-inference-fairness-id": "f",
        "x-llm-d-slo-ttft-ms": "250.5",
        "x-llm-d-slo-tpot-ms": "20",
        "x-dynamo-retry-attempt": "2",
        "user-agent": "x",
    }
    assert read_routing_headers(sent) == RoutingHeaders(
        tenant="t",
        priority=-5,
        strict_priority=6,
        policy_class="gold",
        meta_policy_class="metal",
        session_id="s",
        parent_session_id="p",
        session_final=True,
        worker_id=2**64 - 1,
        dp_rank=1,
        prefill_worker_id=2,
        prefill_dp_rank=3,
        model_rewrite="big",
        objective="fast",
        fairness_id="f",
        ttft_slo_ms=250.5,
        tpot_slo_ms=20.0,
        retry_attempt=2,
    )


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("worker_id", ("x-dynamo-worker-instance-id", "x-worker-instance-id")),
        ("dp_rank", ("x-dynamo-dp-rank", "x-dp-rank", "x-data-parallel-rank")),
        ("prefill_worker_id", ("x-dynamo-prefill-instance-id", "x-prefill-instance-id")),
        ("prefill_dp_rank", ("x-dynamo-prefill-dp-rank", "x-prefill-dp-rank")),
        ("model_rewrite", ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite")),
        ("objective", ("x-llm-d-inference-objective", "x-gateway-inference-objective")),
        ("fairness_id", ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")),
        ("ttft_slo_ms", ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")),
        ("tpot_slo_ms", ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")),
    ],
)
def test_aliases_speak_when_the_canonical_name_is_silent(field: str, names: tuple[str, ...]) -> None:
    for place, name in enumerate(names):
        alone = {later: str(index + 1) for index, later in enumerate(names) if index >= place}
        assert name in alone
        value = getattr(read_routing_headers(alone), field)
        assert str(value).removesuffix(".0") == str(place + 1)


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_a_blank_value_is_absent(blank: str) -> None:
    sent = {"x-dynamo-dp-rank": blank, "x-dp-rank": " 4 ", "x-tenant-id": blank, "x-request-id": blank}
    read = read_routing_headers(sent)
    assert (read.dp_rank, read.tenant, read.unreadable) == (4, None, ())


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("x-dynamo-worker-instance-id", "abc", "not-a-number"),
        ("x-dynamo-worker-instance-id", "-1", "out-of-range"),
        ("x-dynamo-worker-instance-id", "18446744073709551616", "out-of-range"),
        ("x-dynamo-worker-instance-id", "9" * 10_000, "out-of-range"),
        ("x-dp-rank", "1.0", "not-a-number"),
        ("x-dp-rank", "4294967296", "out-of-range"),
        ("x-dp-rank", "٣", "not-a-number"),
        ("x-dynamo-request-priority", "2147483648", "out-of-range"),
        ("x-dynamo-request-priority", "1_0", "not-a-number"),
        ("x-dynamo-request-strict-priority", "--1", "not-a-number"),
        ("x-dynamo-retry-attempt", "first", "not-a-number"),
        ("x-slo-ttft-ms", "soon", "not-a-number"),
        ("x-slo-ttft-ms", "nan", "out-of-range"),
        ("x-slo-ttft-ms", "inf", "out-of-range"),
        ("x-slo-tpot-ms", "0", "out-of-range"),
    ],
)
def test_an_unreadable_value_is_reported_and_ignored(name: str, value: str, reason: str) -> None:
    assert read_routing_headers({name: value}) == RoutingHeaders(unreadable=((name, reason),))


def test_the_largest_rank_means_none_and_is_no_error() -> None:
    sent = {"x-dynamo-dp-rank": "4294967295", "x-prefill-dp-rank": "4294967295"}
    assert read_routing_headers(sent) == RoutingHeaders()


@pytest.mark.parametrize(
    ("sent", "session", "parent"),
    [
        ({}, None, None),
        ({"x-dynamo-session-id": "a", "x-claude-code-session-id": "b"}, "a", None),
        ({"x-dynamo-session-id": "a", "x-dynamo-parent-session-id": "a"}, "a", None),
        ({"x-claude-code-session-id": "s"}, "s", None),
        ({"x-claude-code-session-id": "s", "x-claude-code-parent-agent-id": "p"}, "s", None),
        ({"x-claude-code-session-id": "s", "x-claude-code-agent-id": "g"}, "g", "s"),
        (
            {
                "x-claude-code-session-id": "s",
                "x-claude-code-agent-id": "g",
                "x-claude-code-parent-agent-id": "p",
            },
            "g",
            "p",
        ),
        ({"x-claude-code-agent-id": "g"}, None, None),
        ({"thread-id": "t", "x-codex-parent-thread-id": "p"}, "t", "p"),
        ({"session-id": "c"}, "c", None),
        ({"x-session-id": "o", "x-parent-session-id": "p"}, "o", "p"),
    ],
)
def test_sessions_of_known_agents(sent: dict[str, str], session: str | None, parent: str | None) -> None:
    read = read_routing_headers(sent)
    assert (read.session_id, read.parent_session_id) == (session, parent)


@pytest.mark.parametrize(
    ("tenant", "nvext_salt", "body_salt", "salt"),
    [("t", "n", "b", "t"), (None, "n", "b", "n"), (None, None, "b", "b"), (None, "", "", "")],
)
def test_salt_tenant_header_then_nvext_then_body(
    tenant: str | None, nvext_salt: str | None, body_salt: str | None, salt: str
) -> None:
    asked = request(NvExt(cache_salt=nvext_salt), cache_salt=body_salt)
    assert merge(asked, RoutingHeaders(tenant=tenant), trusted=False).salt == salt


@pytest.mark.parametrize(
    ("header", "hint", "engine", "priority"),
    [(1, 2, 3, 1), (0, 2, 3, 0), (None, 2, 3, 2), (None, None, 3, -3), (None, None, None, 0)],
)
def test_priority_header_then_hint_then_the_engines_inverted_field(
    header: int | None, hint: int | None, engine: int | None, priority: int
) -> None:
    asked = request(NvExt(agent_hints=AgentHints(priority=hint)), priority=engine)
    assert merge(asked, RoutingHeaders(priority=header), trusted=True).priority == priority


@pytest.mark.parametrize(
    ("headers", "nvext", "pin", "prefill"),
    [
        (RoutingHeaders(), NvExt(), None, None),
        (RoutingHeaders(worker_id=0), NvExt(), WorkerRank(0, ANY_RANK), None),
        (
            RoutingHeaders(worker_id=1, dp_rank=0),
            NvExt(decode_worker_id=9, dp_rank=8),
            WorkerRank(1, 0),
            None,
        ),
        (RoutingHeaders(), NvExt(decode_worker_id=2, backend_instance_id=3), WorkerRank(2, ANY_RANK), None),
        (RoutingHeaders(dp_rank=4), NvExt(backend_instance_id=3, dp_rank=1), WorkerRank(3, 4), None),
        (RoutingHeaders(dp_rank=4), NvExt(dp_rank=1), None, None),
        (
            RoutingHeaders(prefill_worker_id=5),
            NvExt(prefill_worker_id=6, prefill_dp_rank=7),
            None,
            WorkerRank(5, 7),
        ),
        (RoutingHeaders(prefill_dp_rank=1), NvExt(prefill_worker_id=6), None, WorkerRank(6, 1)),
    ],
)
def test_pins_headers_then_nvext(
    headers: RoutingHeaders, nvext: NvExt, pin: WorkerRank | None, prefill: WorkerRank | None
) -> None:
    intent = merge(request(nvext), headers, trusted=True)
    assert (intent.pin, intent.prefill_pin) == (pin, prefill)


def test_a_stranger_may_wish_but_not_command() -> None:
    commands = RoutingHeaders(
        priority=9,
        strict_priority=9,
        policy_class="gold",
        meta_policy_class="metal",
        worker_id=1,
        dp_rank=1,
        prefill_worker_id=1,
        model_rewrite="big",
        objective="fast",
        fairness_id="f",
    )
    hints = AgentHints(priority=9, strict_priority=9, expected_output_tokens=50)
    nvext = NvExt(backend_instance_id=1, prefill_worker_id=1, agent_hints=hints)
    intent = merge(request(nvext, priority=-9), commands, trusted=False)
    assert intent == RoutingIntent(model="m", expected_output_tokens=50)


def test_wishes_pass_from_anyone() -> None:
    headers = RoutingHeaders(
        tenant="t",
        session_id="s",
        parent_session_id="p",
        session_final=True,
        ttft_slo_ms=100.0,
        retry_attempt=1,
    )
    nvext = NvExt(
        annotations=("query_instance_id:", "x-bypass-remote-prefill"),
        required_taints=frozenset({"a"}),
        preferred_taints=(("b", 1.0),),
        overrides=RouterOverrides(temperature=1.0),
        ttft_target_ms=200.0,
        itl_target_ms=20.0,
    )
    assert merge(request(nvext), headers, trusted=False) == RoutingIntent(
        model="m",
        salt="t",
        required_taints=frozenset({"a"}),
        preferred_taints=(("b", 1.0),),
        overrides=RouterOverrides(temperature=1.0),
        session_id="s",
        parent_session_id="p",
        session_final=True,
        ttft_slo_ms=100.0,
        tpot_slo_ms=20.0,
        retry_attempt=1,
        query_only=True,
        bypass_prefill=True,
    )


def test_commands_of_a_trusted_sender() -> None:
    headers = RoutingHeaders(
        strict_priority=2,
        policy_class="gold",
        meta_policy_class="metal",
        model_rewrite="big",
        objective="fast",
        fairness_id="f",
    )
    assert merge(request(), headers, trusted=True) == RoutingIntent(
        model="big",
        strict_priority=2,
        policy_class="gold",
        meta_policy_class="metal",
        objective="fast",
        fairness_id="f",
    )
