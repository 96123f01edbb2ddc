"""Answers on their way through: ids, annotations, fields, comments in quiet streams, passed-on endpoints."""

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import until

CHAT = "/v1/chat/completions"
HI: list[Any] = [{"role": "user", "content": "hi"}]


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "sim", "messages": HI, "max_tokens": 3, **more}


def data_of(stream: str) -> list[Any]:
    found = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    return [json.loads(line) if line != "[DONE]" else line for line in found]


class TestRequestIds:
    def test_echoed_only_if_sent(self, front: Any) -> None:
        assert (
            front.http.post(CHAT, json=chat(), headers={"x-request-id": "r-7"}).headers["x-request-id"]
            == "r-7"
        )
        assert "x-request-id" not in front.http.post(CHAT, json=chat()).headers

    def test_the_answers_id_is_made_of_it(self, front: Any) -> None:
        sent = {"x-request-id": "r-8"}
        assert front.http.post(CHAT, json=chat(), headers=sent).json()["id"] == "chatcmpl-r-8"
        text = {"model": "sim", "prompt": "x", "max_tokens": 1}
        assert front.http.post("/v1/completions", json=text, headers=sent).json()["id"] == "cmpl-r-8"


class TestNvExt:
    def test_nothing_unasked(self, front: Any) -> None:
        assert "nvext" not in front.http.post(CHAT, json=chat()).json()
        assert "nvext" not in front.http.post(CHAT, json=chat(nvext={})).json()

    def test_fields_of_a_whole_answer(self, front: Any) -> None:
        nvext = {"extra_fields": ["worker_id", "timing", "token_ids", "stop_reason", "engine_data"]}
        said = front.http.post(CHAT, json=chat(nvext=nvext)).json()["nvext"]
        assert said["worker_id"].keys() == {
            "prefill_worker_id",
            "prefill_dp_rank",
            "decode_worker_id",
            "decode_dp_rank",
        }
        assert said["worker_id"]["prefill_worker_id"] == said["worker_id"]["decode_worker_id"]
        assert said["timing"]["ttft_ms"] <= said["timing"]["total_time_ms"]
        assert 0 <= said["timing"]["kv_hit_rate"] <= 1
        tokens = front.http.post("/tokenize", json={"model": "sim", "messages": HI}).json()["tokens"]
        assert said["token_ids"] == tokens

    def test_hit_rate_counts_blocks_rounded_up(self, front: Any) -> None:
        words = [{"role": "user", "content": " ".join(f"once{n}" for n in range(40))}]
        body = chat(messages=words, nvext={"extra_fields": ["timing", "worker_id"]})
        first = front.http.post(CHAT, json=body).json()
        again = front.http.post(CHAT, json=body).json()
        usage = again["usage"]
        if first["nvext"]["worker_id"] == again["nvext"]["worker_id"]:
            blocks = -(-usage["prompt_tokens"] // 16)
            held = -(-usage["prompt_tokens_details"]["cached_tokens"] // 16)
            assert again["nvext"]["timing"]["kv_hit_rate"] in (held / blocks, 1.0, 0.0)

    def test_fields_of_a_stream(self, front: Any) -> None:
        nvext = {"extra_fields": ["worker_id", "timing"]}
        *chunks, done = data_of(front.http.post(CHAT, json=chat(stream=True, nvext=nvext)).text)
        assert done == "[DONE]"
        assert all(chunk["nvext"]["worker_id"] for chunk in chunks)
        timed = [chunk for chunk in chunks if "timing" in chunk["nvext"]]
        assert [chunk["choices"][0]["finish_reason"] for chunk in timed] == ["length"]

    def test_annotations_are_comments_of_events_before_the_first_chunk(self, front: Any) -> None:
        annotations = ["request_id", "token_ids", "formatted_prompt", "nonsense"]
        body = chat(stream=True, nvext={"annotations": annotations})
        told = front.http.post(CHAT, json=body, headers={"x-request-id": "r-9"}).text
        head, _, rest = told.partition("data: ")
        events = [part.split("\n") for part in head.strip().split("\n\n")]
        names = [lines[0].removeprefix("event: ") for lines in events]
        values = [json.loads(lines[1].removeprefix(": ")) for lines in events]
        assert names == ["request_id", "formatted_prompt", "token_ids"]
        assert values[0] == "r-9"
        assert "hi" in values[1]
        tokens = front.http.post("/tokenize", json={"model": "sim", "messages": HI}).json()["tokens"]
        assert json.loads(values[2]) == tokens
        assert "nvext" not in rest

    def test_metrics_of_a_stream(self, front: Any) -> None:
        body = chat(
            stream=True, stream_options={"include_usage": True}, nvext={"annotations": ["llm_metrics"]}
        )
        told = front.http.post(CHAT, json=body).text
        line = told.partition("event: llm_metrics\n: ")[2].partition("\n")[0]
        assert json.loads(json.loads(line))["output_tokens"] == 3

    def test_switched_off(self, site: Any, pool: Any) -> None:
        front = site.frontend(site.endpoints(*pool), "--no-nvext").serves()
        assert front.http.post(CHAT, json=chat()).status_code == 200
        refused = front.http.post(CHAT, json=chat(nvext={}))
        assert refused.status_code == 400
        assert "Unsupported parameter(s): `nvext`" in refused.json()["message"]


@pytest.fixture(scope="module")
def quiet(site: Any) -> Any:
    """A worker that needs more than a second for a prompt, and half of one for a token."""
    entries = site.engines(1, "--prefill-tokens-per-s", "20", "--decode-tokens-per-s", "2")
    return site.frontend(site.endpoints(*entries), "--http-sse-keep-alive-interval", "50ms").serves()


class TestKeepAlive:
    def test_comments_before_the_first_chunk_and_in_gaps(self, quiet: Any) -> None:
        told = quiet.http.post(CHAT, json=chat(stream=True)).text
        assert told.startswith(":\n\n")
        assert ":\n\ndata: " in told.partition("data: ")[2]
        *chunks, done = data_of(told)
        assert done == "[DONE]"
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    def test_no_comments_in_a_whole_answer(self, quiet: Any) -> None:
        assert quiet.http.post(CHAT, json=chat()).json()["object"] == "chat.completion"

    def test_a_late_refusal_is_an_error_event(self, site: Any, scripted: Any) -> None:
        release = threading.Event()
        body = b'{"error":{"message":"too late"}}'

        class Late(dict[str, Any]):
            def get(self, path: str, default: Any = None) -> Any:
                if path == CHAT:
                    release.wait(60)
                    return 400, "application/json", body
                return super().get(path, default)

        before = scripted.answers
        scripted.answers = Late(before)
        try:
            flags = ("--http-sse-keep-alive-interval", "50ms")
            front = site.frontend(site.endpoints(scripted.entry()), *flags).serves("scripted")
            asked = chat(model="scripted", stream=True)
            with front.http.stream("POST", CHAT, json=asked) as answer:
                assert answer.status_code == 200
                pieces = answer.iter_text()
                first = next(pieces)
                release.set()
                told = first + "".join(pieces)
        finally:
            scripted.answers = before
        assert first.startswith(":\n\n")
        assert data_of(told) == [json.loads(body), "[DONE]"]


PASSED = [
    ("/v1/images/generations", "/v1/images/generations"),
    ("/v1/videos/generations", "/v1/videos/generations"),
    ("/v1/videos", "/v1/videos/generations"),
    ("/v1/videos/generations/stream", "/v1/videos/generations/stream"),
    ("/v1/videos/stream", "/v1/videos/generations/stream"),
    ("/v1/audio/speech", "/v1/audio/speech"),
    ("/v1/rerank", "/v1/rerank"),
    ("/v1/score", "/v1/score"),
    ("/v1/classify", "/classify"),
    ("/v1/pooling", "/pooling"),
]


@pytest.mark.parametrize(("path", "worker_path"), PASSED)
def test_passed_on(scripted_front: Any, scripted: Any, path: str, worker_path: str) -> None:
    scripted.answers[worker_path] = (200, "application/json", b'{"made":1}')
    body = {"model": "scripted", "anything": [path]}
    answer = scripted_front.http.post(path, json=body)
    assert answer.json() == {"made": 1}
    assert json.loads(scripted.last(worker_path)[1]) == body


def test_what_steers_workers_ends_here(scripted_front: Any, scripted: Any) -> None:
    """The frontend believes its clients (its default), and still is the one who tells the worker."""
    scripted.answers[CHAT] = (200, "application/json", b"{}")
    steering = {
        "x-encoder-hosts-ports": "203.0.113.1:1",
        "x-kv-cache-source-host-port": "203.0.113.1:1",
        "x-prefiller-host-port": "203.0.113.1:1",
        "x-data-parallel-rank": "0",
        "x-dynamo-request-priority": "9",
        "x-llm-d-inference-objective": "urgent",
    }
    words = {"x-dynamo-session-id": "s", "x-llm-d-slo-ttft-ms": "200", "x-kept": "1"}
    answer = scripted_front.http.post(CHAT, json=chat(model="scripted"), headers={**steering, **words})
    assert answer.status_code == 200, answer.text
    received, _ = scripted.last(CHAT)
    assert not received.keys() & steering.keys()
    assert {name: received[name] for name in words} == words


def test_forms_pass_as_they_are(scripted_front: Any, scripted: Any) -> None:
    path = "/v1/audio/transcriptions"
    scripted.answers[path] = (200, "application/json", b'{"text":"x"}')
    made = httpx.Request("POST", scripted_front.url + path, files={"file": b"\x00sound"}, data={"model": "w"})
    made.read()
    assert scripted_front.http.send(made).json() == {"text": "x"}
    headers, asked = scripted.last(path)
    assert asked == made.content
    assert headers["content-type"] == made.headers["content-type"]


def test_moved_paths(site: Any, pool: Any) -> None:
    front = site.frontend(
        site.endpoints(*pool),
        *("--http-path-chat", "/talk", "--http-path-models", "/which", "--http-path-health", "/ok"),
        *("--enable-anthropic-api", "--http-path-messages", "/anthropic", "--no-admin-api"),
    )
    assert front.http.get("/ok").status_code == 200
    assert front.http.get("/health").status_code == 404
    until(lambda: front.http.get("/which/sim/ready").status_code == 200, "sim ready")
    assert front.http.post("/talk", json=chat()).status_code == 200
    assert front.http.post(CHAT, json=chat()).status_code == 404
    assert front.http.post("/anthropic", json=chat()).status_code == 200
    assert front.http.get("/busy_threshold").status_code == 404
    refused = front.http.post("/anthropic", json=chat(messages=[])).json()
    assert refused["type"] == "error"
    assert refused["error"]["type"] == "invalid_request_error"


@pytest.fixture(scope="module")
def sidecar(site: Any, scripted: Any) -> Any:
    entry = {**scripted.entry(), "worker_id": 7}
    front = site.frontend(site.endpoints(entry), "--router-mode", "direct")
    until(lambda: bool(front.http.get("/health").json()["instances"]), "the worker")
    return front


def test_a_sidecar_leaves_models_to_its_worker(sidecar: Any, scripted: Any) -> None:
    scripted.answers[CHAT] = (200, "application/json", b"{}")
    pinned = {"x-dynamo-worker-instance-id": "7"}
    assert sidecar.http.post(CHAT, json=chat(model="nobody-knows"), headers=pinned).status_code == 200
    assert sidecar.http.post(CHAT, json=chat()).status_code == 400
    assert sidecar.http.post("/v1/route", json=chat()).status_code == 404


def test_running_answers_end_before_the_process(site: Any, pool: Any) -> None:
    front = site.frontend(site.endpoints(*pool)).serves()
    body = {**chat(stream=True), "max_tokens": 200, "ignore_eos": True}
    with front.http.stream("POST", CHAT, json=body) as answer:
        lines: Iterator[str] = answer.iter_lines()
        assert next(lines).startswith("data: ")
        front.child.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert front.child.process.wait(60) == 0
