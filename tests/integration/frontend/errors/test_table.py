"""Every error a client can be told, row by row: status, sentence, form."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import until

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"
HI: list[Any] = [{"role": "user", "content": "hi"}]
TYPE = "Failed to deserialize the JSON body into the target type"


@dataclass(frozen=True)
class Row:
    name: str
    status: int
    message: str
    """Part of it."""
    path: str = CHAT
    method: str = "POST"
    body: Any = None
    """JSON, or bytes as they are."""
    headers: dict[str, str] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    """Headers of the answer."""


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "sim", "messages": HI, "max_tokens": 1, **more}


def text(**more: Any) -> dict[str, Any]:
    return {"model": "sim", "prompt": "hi", "max_tokens": 1, **more}


ROWS = (
    Row("unknown path", 404, "Route not found: GET /nope", "/nope", "GET"),
    Row("unknown path, POST", 404, "Route not found: POST /v1/nope", "/v1/nope", body={}),
    Row("messages are off", 404, "Route not found: POST /v1/messages", "/v1/messages", body=chat()),
    Row(
        "counting is off",
        404,
        "Route not found: POST /v1/messages/count_tokens",
        "/v1/messages/count_tokens",
        body=chat(),
    ),
    Row("unknown model", 404, "Model not found", body=chat(model="zz")),
    Row("unknown model, completions", 404, "Model not found", COMPLETIONS, body=text(model="zz")),
    Row("unknown model, embeddings", 404, "Model not found", EMBEDDINGS, body={"model": "zz", "input": "x"}),
    Row("unknown model, responses", 404, "Model not found", RESPONSES, body={"model": "zz", "input": "x"}),
    Row("unknown model's page", 404, "Model not found", "/v1/models/zz", "GET"),
    Row("unknown model's readiness", 404, "Model not found", "/v1/models/a/b/ready", "GET"),
    Row("wrong method", 405, "Method not allowed: GET", CHAT, "GET", answer={"allow": "POST"}),
    Row("wrong method on a page", 405, "Method not allowed: POST", "/health", answer={"allow": "GET, HEAD"}),
    Row("wrong method, DELETE", 405, "DELETE", "/v1/models/sim", "DELETE", answer={"allow": "GET, HEAD"}),
    Row("no content type", 415, "Expected request with Content-Type application/json", body=b"{}"),
    Row(
        "a form",
        415,
        "Expected request with Content-Type application/json",
        body=b"a=b",
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
    Row("no JSON", 400, TYPE, body=b"{nope", headers={"content-type": "application/json"}),
    Row("empty body", 400, TYPE, body=b"", headers={"content-type": "application/json"}),
    Row("no object", 400, TYPE, body=[1]),
    Row("no UTF-8", 400, TYPE, body=b'{"model":"\xff"}', headers={"content-type": "application/json"}),
    Row("no model", 400, f"{TYPE}: missing field `model`", body={"messages": HI}),
    Row("no messages", 400, f"{TYPE}: missing field `messages`", body={"model": "sim"}),
    Row("no prompt", 400, f"{TYPE}: missing field `prompt`", COMPLETIONS, body={"model": "sim"}),
    Row("no input", 400, f"{TYPE}: missing field `input`", EMBEDDINGS, body={"model": "sim"}),
    Row("empty messages", 400, "Validation: The 'messages' field cannot be empty.", body=chat(messages=[])),
    Row("messages of another type", 400, f"{TYPE}: `messages`: expected an array", body=chat(messages="x")),
    Row("model of another type", 400, f"{TYPE}: `model`: Expected `str`, got `int`", body=chat(model=5)),
    Row(
        "empty prompt",
        400,
        "Validation: The 'prompt' field cannot be empty.",
        COMPLETIONS,
        body=text(prompt=[]),
    ),
    Row("unknown field", 400, "Validation: Unsupported parameter(s): `bogus`", body=chat(bogus=1)),
    Row("two unknown", 400, "Validation: Unsupported parameter(s): `a`, `z`", body=chat(z=1, a=2)),
    Row(
        "where KV comes from", 400, "`kv_transfer_params`", body=chat(kv_transfer_params={"remote_host": "h"})
    ),
    Row(
        "the same among others",
        400,
        "`vllm_xargs.kv_transfer_params`",
        body=chat(vllm_xargs={"kv_transfer_params": 1}),
    ),
    Row("unknown in completions", 400, "`messages`", COMPLETIONS, body=text(messages=HI)),
    Row(
        "unknown nvext key",
        400,
        "unknown field `bogus`; allowed are greed_sampling,",
        body=chat(nvext={"bogus": 1}),
    ),
    Row("nvext of another type", 400, "Field `nvext.dp_rank`", body=chat(nvext={"dp_rank": "x"})),
    Row(
        "temperature", 400, "Validation: Temperature must be between 0 and 2, got 9", body=chat(temperature=9)
    ),
    Row(
        "negative temperature",
        400,
        "Temperature must be between 0 and 2, got -0.5",
        body=chat(temperature=-0.5),
    ),
    Row("temperature of another type", 400, f"{TYPE}: `temperature`", body=chat(temperature="hot")),
    Row("n", 400, "Validation: n must be between 1 and 128, got 0", body=chat(n=0)),
    Row("large n", 400, "Validation: n must be between 1 and 128, got 129", body=chat(n=129)),
    Row("top_p", 400, "Top_p must be greater than 0 and at most 1, got 0", body=chat(top_p=0)),
    Row("top_k", 400, "Top_k must be -1 or at least 0, got -2", body=chat(top_k=-2)),
    Row("min_p", 400, "Min_p must be between 0 and 1, got 2", body=chat(min_p=2)),
    Row(
        "frequency", 400, "Frequency penalty must be between -2 and 2, got 3", body=chat(frequency_penalty=3)
    ),
    Row("presence", 400, "Presence penalty must be between -2 and 2, got -3", body=chat(presence_penalty=-3)),
    Row("repetition", 400, "Repetition penalty must be greater than 0", body=chat(repetition_penalty=0)),
    Row("max_tokens", 400, "Max_tokens must be greater than 0, got 0", body=chat(max_tokens=0)),
    Row("max_completion_tokens", 400, "got -1", body=chat(max_completion_tokens=-1)),
    Row("top_logprobs", 400, "Top_logprobs must be between 0 and 20, got 21", body=chat(top_logprobs=21)),
    Row("top_logprobs alone", 400, "only allowed when 'logprobs'", body=chat(top_logprobs=2)),
    Row("logprobs of another type", 400, f"{TYPE}: `logprobs`", body=chat(logprobs=3)),
    Row(
        "logprobs of completions",
        400,
        "Logprobs must be between 0 and 20",
        COMPLETIONS,
        body=text(logprobs=21),
    ),
    Row("logit_bias", 400, "Logit bias of token 5 must be between", body=chat(logit_bias={"5": 200})),
    Row("best_of", 400, "Best_of must be at least n, got 1 and 2", COMPLETIONS, body=text(best_of=1, n=2)),
    Row("stop", 400, f"{TYPE}: `stop`", body=chat(stop=7)),
    Row("stream of another type", 400, f"{TYPE}: `stream`", body=chat(stream="yes")),
    Row("stream_options alone", 400, "'stream_options' field is only allowed", body=chat(stream_options={})),
    Row("functions", 501, "`functions` is deprecated", body=chat(functions=[])),
    Row("function_call", 501, "`function_call` is deprecated", body=chat(function_call="auto")),
    Row("route asks nothing", 400, f"{TYPE}: missing field", "/v1/route", body={"model": "sim"}),
    Row("route of a strange path", 400, "`path` must be one of", "/v1/route?path=/x", body=chat()),
    Row("nothing to tokenize", 400, "`prompt` or `messages`", "/tokenize", body={"model": "sim"}),
    Row("nothing to detokenize", 400, "missing field `tokens`", "/detokenize", body={"model": "sim"}),
    Row("bad ids", 400, f"{TYPE}: `tokens`", "/detokenize", body={"model": "sim", "tokens": [-1]}),
)


def sent(client: httpx.Client, row: Row) -> httpx.Response:
    content = row.body if isinstance(row.body, bytes) or row.body is None else json.dumps(row.body)
    kind = {"content-type": "application/json"} if isinstance(row.body, dict | list) else {}
    return client.request(row.method, row.path, content=content, headers={**kind, **row.headers})


def told(answer: httpx.Response) -> dict[str, Any]:
    """The body of an error in the frontend's form."""
    said: dict[str, Any] = answer.json()
    assert set(said) == {"message", "type", "code", "error"}
    assert said["code"] == answer.status_code
    assert said["error"] == {**{k: said[k] for k in ("message", "type", "code")}, "param": None}
    return said


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(front: Any, row: Row) -> None:
    answer = sent(front.http, row)
    assert answer.status_code == row.status, answer.text
    said = told(answer)
    assert row.message in said["message"]
    assert answer.headers["content-type"] == "application/json"
    assert {name: answer.headers[name] for name in row.answer} == row.answer


def test_the_type_is_the_reason_phrase(front: Any) -> None:
    assert told(front.http.get("/nope"))["type"] == "Not Found"
    assert told(front.http.post(CHAT, json=chat(temperature=9)))["type"] == "Bad Request"


def test_a_request_id_comes_back_with_an_error(front: Any) -> None:
    assert front.http.get("/nope", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    assert "x-request-id" not in front.http.get("/nope").headers


@pytest.fixture(scope="module")
def empty(site: Any) -> Any:
    return site.frontend(site.endpoints(), "--http-body-limit", "1MiB")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat()),
        (COMPLETIONS, text()),
        (EMBEDDINGS, {"model": "sim", "input": "x"}),
        (RESPONSES, {"model": "sim", "input": "x"}),
    ],
)
def test_no_model_at_all(empty: Any, path: str, body: dict[str, Any]) -> None:
    answer = empty.http.post(path, json=body)
    assert answer.status_code == 404
    assert told(answer)["message"] == "Model not found"


def test_a_body_too_large(empty: Any) -> None:
    answer = empty.http.post(CHAT, json=chat(user="x" * (1 << 20)))
    assert answer.status_code == 413
    told(answer)


def test_half_a_pool_is_not_ready(site: Any, pool: list[dict[str, Any]]) -> None:
    path = site.endpoints({**pool[0], "role": "decode"}, {**pool[1], "role": "prefill"})
    front = site.frontend(path).serves()
    assert front.http.post(CHAT, json=chat()).status_code == 200
    site.endpoints({**pool[0], "role": "decode"}, path=path)
    page = _until_unready(front)
    assert page["reason"] == "missing worker types: prefill"
    assert page["namespaces"]["default"]["missing_worker_types"] == ["prefill"]
    answer = front.http.post(CHAT, json=chat())
    assert answer.status_code == 503
    assert told(answer)["message"].startswith("Model `sim` is not ready to serve requests yet.")


def _until_unready(front: Any) -> dict[str, Any]:
    page: dict[str, Any] = {}

    def unready() -> bool:
        page.update(front.http.get("/v1/models/sim/ready").json())
        return not page["ready"]

    until(unready, "half a pool is noticed")
    return page


@pytest.mark.parametrize(
    ("worker", "client", "message"),
    [
        (400, 400, None),
        (422, 422, None),
        (429, 429, None),
        (503, 503, None),
        (529, 529, None),
        (500, 500, "The worker failed to serve this request."),
        (502, 500, "The worker failed to serve this request."),
        (501, 500, "The worker failed to serve this request."),
    ],
)
def test_what_a_worker_says(
    scripted_front: Any, scripted: Any, worker: int, client: int, message: str | None
) -> None:
    said = b'{"error":{"message":"secret of the engine"}}'
    scripted.answers[CHAT] = (worker, "application/json", said)
    answer = scripted_front.http.post(CHAT, json=chat(model="scripted"))
    assert answer.status_code == client
    if message is None:
        assert answer.content == said
    else:
        assert told(answer)["message"] == message


def test_nobody_listens(site: Any, refusing_port: int) -> None:
    place = {"address": "127.0.0.1", "port": str(refusing_port)}
    entry = {"name": "gone", **place, "labels": {"model": "sim"}}
    front = site.frontend(site.endpoints(entry)).serves()
    answer = front.http.post(CHAT, json=chat())
    assert answer.status_code == 503
    assert "cannot be reached" in told(answer)["message"]


SLOW = ("--decode-tokens-per-s", "50")
"""Four minutes for the longest answer."""


@pytest.fixture(scope="module")
def busy(site: Any) -> Iterator[Any]:
    """A frontend whose one worker is busy with a long stream, and counts as busy with anything at all."""
    flags = ("--router-mode", "kv", "--model-path", str(site.model_dir), "--model-name", "sim")
    front = site.frontend(site.endpoints(*site.engines(1, *SLOW)), *flags, "--retry-after", "3").serves()
    long = {**text(prompt="word " * 600), "max_tokens": 12_000, "stream": True, "ignore_eos": True}
    with front.http.stream("POST", COMPLETIONS, json=long) as running:
        lines = running.iter_lines()
        assert next(lines).startswith("data:")
        limits = {"active_decode_blocks_threshold": 0.0, "active_prefill_tokens_threshold": 0}
        assert front.http.post("/busy_threshold", json={"model": "sim", **limits}).status_code == 200
        while front.http.post(CHAT, json=chat()).status_code == 200:  # how much it holds is yet to be scraped
            assert next(line for line in lines if line) != "data: [DONE]"
        yield front
        assert next(line for line in lines if line).startswith("data:")


@pytest.mark.parametrize("stream", [False, True])
def test_everybody_is_busy(busy: Any, stream: bool) -> None:
    answer = busy.http.post(CHAT, json=chat(stream=stream))
    assert answer.status_code == 529
    assert told(answer)["type"] == "Overloaded"
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["content-type"] == "application/json"
