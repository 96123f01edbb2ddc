"""Eighteen ways to name workers, through real processes.

They are the rows in which Dynamo 1.6.1 was observed (two mock workers, or two and two). Where it answered
with a 500, without a reason, or with a wrong pair, the better answer stands here: 8, 11, 14 and 17; and a
header that cannot be read (3) is refused like any other wrong name.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import MODEL, Front, until

from .conftest import worker_id

WORKER = "x-dynamo-worker-instance-id"
PREFILL = "x-dynamo-prefill-instance-id"
ASK = {"annotations": ["query_instance_id:"]}


@dataclass
class Ids:
    """Worker ids by role."""

    agg: list[int]
    prefill: list[int]
    decode: list[int]


@dataclass
class Ask:
    """What a client sends."""

    headers: dict[str, str] = field(default_factory=dict)
    nvext: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass
class Row:
    """One row: a mode, a pool, a request made of known ids, and what the answer must hold."""

    name: str
    mode: str
    pool: str
    ask: Callable[[Ids], Ask]
    status: int
    says: str = ""
    """Part of the error's message."""
    decode: Callable[[Ids], list[int]] | None = None
    """Ids of which one must have decoded; None: nobody looks."""
    prefill: Callable[[Ids], list[int]] | None = None


def nobody(_: Ids) -> Ask:
    return Ask()


def agg(ids: Ids) -> list[int]:
    return ids.agg


def prefills(ids: Ids) -> list[int]:
    return ids.prefill


def decodes(ids: Ids) -> list[int]:
    return ids.decode


def first_agg(ids: Ids) -> list[int]:
    return ids.agg[:1]


def first_decode(ids: Ids) -> list[int]:
    return ids.decode[:1]


def first_prefill(ids: Ids) -> list[int]:
    return ids.prefill[:1]


ROWS = (
    Row(
        "2 header",
        "kv",
        "agg",
        lambda i: Ask({WORKER: "12345"}),
        400,
        "names worker 12345, which is not known",
    ),
    Row(
        "2 nvext",
        "kv",
        "agg",
        lambda i: Ask(nvext={"backend_instance_id": 12345}),
        400,
        "`nvext.backend_inst",
    ),
    Row("3", "kv", "agg", lambda i: Ask({WORKER: "abc"}), 400, f"`{WORKER}`: 'abc' is not a number"),
    Row("4", "direct", "agg", nobody, 400, f"has to name its worker: use header `{WORKER}`"),
    Row("5 header", "direct", "agg", lambda i: Ask({WORKER: str(i.agg[0])}), 200, "", first_agg, first_agg),
    Row(
        "5 legacy",
        "direct",
        "agg",
        lambda i: Ask({"x-worker-instance-id": str(i.agg[0])}),
        200,
        "",
        first_agg,
    ),
    Row(
        "5 backend",
        "direct",
        "agg",
        lambda i: Ask(nvext={"backend_instance_id": i.agg[0]}),
        200,
        "",
        first_agg,
    ),
    Row("5 decode", "direct", "agg", lambda i: Ask(nvext={"decode_worker_id": i.agg[0]}), 200, "", first_agg),
    Row(
        "5 body",
        "direct",
        "agg",
        lambda i: Ask(body={"routing": {"decode_worker_id": i.agg[0]}}),
        200,
        "",
        first_agg,
    ),
    Row(
        "6 unknown",
        "direct",
        "agg",
        lambda i: Ask({WORKER: "777"}),
        400,
        "names worker 777, which is not known",
    ),
    Row("6 letters", "direct", "agg", lambda i: Ask({WORKER: "x"}), 400, "is not a number"),
    Row(
        "7",
        "direct",
        "agg",
        lambda i: Ask({WORKER: str(i.agg[0]), "x-dynamo-dp-rank": "9"}),
        400,
        "dp_rank 9 is out of bounds for dp_size 1",
    ),
    Row("8", "direct", "pd", lambda i: Ask({WORKER: str(i.decode[0])}), 400, f"use header `{PREFILL}`"),
    Row(
        "9 headers",
        "direct",
        "pd",
        lambda i: Ask({WORKER: str(i.decode[0]), PREFILL: str(i.prefill[0])}),
        200,
        "",
        first_decode,
        first_prefill,
    ),
    Row(
        "9 nvext",
        "direct",
        "pd",
        lambda i: Ask(nvext={"decode_worker_id": i.decode[0], "prefill_worker_id": i.prefill[0]}),
        200,
        "",
        first_decode,
        first_prefill,
    ),
    Row(
        "10 unknown",
        "direct",
        "pd",
        lambda i: Ask({WORKER: str(i.decode[0]), PREFILL: "777"}),
        400,
        f"`{PREFILL}` names worker 777, which is not known",
    ),
    Row(
        "10 alone",
        "direct",
        "pd",
        lambda i: Ask({PREFILL: str(i.prefill[0])}),
        400,
        "but no decode worker is named",
    ),
    Row(
        "11 nvext",
        "kv",
        "pd",
        lambda i: Ask(nvext={"backend_instance_id": i.decode[0]}),
        200,
        "",
        first_decode,
        prefills,
    ),
    Row("11 header", "kv", "pd", lambda i: Ask({WORKER: str(i.decode[0])}), 200, "", first_decode, prefills),
    Row(
        "12",
        "kv",
        "pd",
        lambda i: Ask(nvext={"decode_worker_id": i.decode[0]}),
        200,
        "",
        first_decode,
        prefills,
    ),
    Row(
        "13",
        "kv",
        "pd",
        lambda i: Ask(nvext={"prefill_worker_id": i.prefill[0]}),
        200,
        "",
        decodes,
        first_prefill,
    ),
    Row(
        "14 kv",
        "kv",
        "pd",
        lambda i: Ask(nvext={"routing_constraints": {"required_taints": ["gpu=none"]}}),
        400,
        "required_taints` asks for `gpu=none`",
    ),
    Row(
        "14 direct",
        "direct",
        "agg",
        lambda i: Ask({WORKER: str(i.agg[0])}, {"routing_constraints": {"required_taints": ["gpu=none"]}}),
        400,
        "required_taints` asks for `gpu=none`",
    ),
    Row("15 kv", "kv", "half", nobody, 503, f"Model `{MODEL}` is not ready to serve requests yet."),
    Row(
        "15 direct",
        "direct",
        "half",
        lambda i: Ask({WORKER: str(i.decode[0])}),
        503,
        f"Model `{MODEL}` is not ready to serve requests yet.",
    ),
    Row("18 without", "direct", "agg", lambda i: Ask(nvext=ASK), 400, "has to name its worker"),
    Row(
        "18 with", "direct", "agg", lambda i: Ask({WORKER: str(i.agg[1])}, ASK), 200, "", lambda i: i.agg[1:]
    ),
)


@pytest.fixture(scope="session")
def ids(pool: Any, pairs: Any) -> Ids:
    return Ids(
        [worker_id(entry) for entry in pool],
        [worker_id(entry) for entry in pairs["prefill"]],
        [worker_id(entry) for entry in pairs["decode"]],
    )


def send(front: Front, ask: Ask, *, content: str = "", stream: bool = False) -> httpx.Response:
    nvext = {"extra_fields": ["worker_id"], **ask.nvext}
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": content or uuid.uuid4().hex}],
        "max_tokens": 4,
        "stream": stream,
        "nvext": nvext,
        **ask.body,
    }
    return front.http.post("/v1/chat/completions", json=body, headers=ask.headers)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row: Row, fronts: Any, ids: Ids) -> None:
    answer = send(fronts[row.mode, row.pool], row.ask(ids))
    page = answer.json()
    assert answer.status_code == row.status, page
    if row.status != 200:
        assert page["code"] == row.status
        assert row.says in page["message"]
        return
    assert page["choices"][0]["message"]["content"]
    served = page["nvext"]["worker_id"]
    if row.decode is not None:
        assert served["decode_worker_id"] in row.decode(ids)
    if row.prefill is not None:
        assert served["prefill_worker_id"] in row.prefill(ids)


def test_row_1_an_equal_prompt_finds_its_blocks_again(fronts: Any) -> None:
    front, content = fronts["kv", "agg"], " ".join(["block"] * 60)
    first = send(front, Ask(), content=content).json()
    assert first["usage"]["prompt_tokens"] >= 32

    def again() -> bool:
        usage = send(front, Ask(), content=content).json()["usage"]
        prompt, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
        return bool(cached == (prompt - 1) // 16 * 16)

    until(again, "every full block is reused")


@pytest.mark.parametrize("stream", [False, True])
def test_row_16_a_question_is_answered_without_generating(stream: bool, fronts: Any, ids: Ids) -> None:
    front = fronts["kv", "agg"]
    page = asked(send(front, Ask(nvext=ASK), content="hello there", stream=stream), stream=stream)
    workers = page["nvext"]["worker_id"]
    assert workers["decode_worker_id"] == workers["prefill_worker_id"]
    assert workers["decode_worker_id"] in ids.agg
    told = front.http.post(
        "/tokenize", json={"model": MODEL, "messages": [{"role": "user", "content": "hello there"}]}
    ).json()
    assert page["nvext"]["token_ids"] == told["tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_row_17_a_question_reveals_the_pair(stream: bool, fronts: Any, ids: Ids) -> None:
    page = asked(send(fronts["kv", "pd"], Ask(nvext=ASK), stream=stream), stream=stream)
    workers = page["nvext"]["worker_id"]
    assert workers["prefill_worker_id"] in ids.prefill
    assert workers["decode_worker_id"] in ids.decode
    assert (workers["prefill_dp_rank"], workers["decode_dp_rank"]) == (0, 0)


def test_row_15_readiness_says_what_is_missing(fronts: Any) -> None:
    page = fronts["kv", "half"].http.get(f"/v1/models/{MODEL}/ready").json()
    assert page["ready"] is False
    (namespace,) = page["namespaces"].values()
    assert namespace["missing_worker_types"] == ["prefill"]


def test_row_18_with_an_id_a_question_in_direct_mode_is_served_and_streams(fronts: Any, ids: Ids) -> None:
    ask = Ask({WORKER: str(ids.agg[0])}, ASK)
    text = send(fronts["direct", "agg"], ask, stream=True).text
    assert text.rstrip().endswith("data: [DONE]")
    assert str(ids.agg[0]) in text


def test_the_plain_question_tells_the_pair_with_addresses(fronts: Any, ids: Ids, pairs: Any) -> None:
    front = fronts["kv", "pd"]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    until(lambda: front.http.post("/v1/route", json=body).json()["tokens"] == "exact", "the tokenizer")
    page = front.http.post("/v1/route?explain=true", json=body).json()
    ports = {worker_id(entry): f"127.0.0.1:{entry['port']}" for group in pairs.values() for entry in group}
    for leg, known in ((page["worker"], ids.decode), (page["prefill_worker"], ids.prefill)):
        assert leg["worker_id"] in known
        assert leg["endpoint"] == ports[leg["worker_id"]]
    assert page["token_ids"]
    assert {row["worker_id"] for row in page["explanation"]["candidates"]} == {*ids.prefill, *ids.decode}


def test_where_kv_comes_from_is_for_whoever_chose_the_workers_to_say(fronts: Any, ids: Ids) -> None:
    body = {"kv_transfer_params": None}
    assert send(fronts["direct", "agg"], Ask({WORKER: str(ids.agg[0])}, body=body)).status_code == 200
    refused = send(fronts["kv", "agg"], Ask(body=body))
    assert refused.status_code == 400
    assert "`kv_transfer_params`" in refused.json()["message"]


def test_a_prefill_address_must_be_a_known_workers(fronts: Any, ids: Ids, pairs: Any) -> None:
    port = pairs["prefill"][1]["port"]
    decode = {WORKER: str(ids.decode[0])}
    good = send(fronts["direct", "pd"], Ask({**decode, "x-prefiller-host-port": f"127.0.0.1:{port}"}))
    assert good.json()["nvext"]["worker_id"]["prefill_worker_id"] == ids.prefill[1]
    bad = send(fronts["direct", "pd"], Ask({**decode, "x-prefiller-host-port": "169.254.169.254:80"}))
    assert bad.status_code == 400
    assert "no known worker's address" in bad.json()["message"]


def asked(answer: httpx.Response, *, stream: bool) -> dict[str, Any]:
    """The one page of a question's answer, which generated nothing."""
    assert answer.status_code == 200, answer.text
    if not stream:
        page: dict[str, Any] = answer.json()
        assert page["choices"][0]["message"]["content"] is None
    else:
        first, done, _ = answer.text.split("\n\n")
        assert done == "data: [DONE]"
        page = json.loads(first.removeprefix("data: "))
    assert page["choices"][0]["finish_reason"] is None
    assert "usage" not in page
    return page
