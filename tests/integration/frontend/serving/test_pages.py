"""What the frontend says for itself, asked of a real process."""

import re
from typing import Any

import pytest

CHAT = "/v1/chat/completions"
HI: list[Any] = [{"role": "user", "content": "hi"}]


def test_live_and_health(front: Any) -> None:
    assert front.http.get("/live").json() == {"status": "live", "message": "Service is live"}
    page = front.http.get("/health").json()
    assert page["status"] == "healthy"
    assert page["endpoints"] == ["http://default.aggregated.generate"]
    assert {"component", "endpoint", "namespace", "instance_id", "transport"} <= page["instances"][0].keys()


def test_models(front: Any) -> None:
    page = front.http.get("/v1/models").json()
    assert page["object"] == "list"
    (card,) = page["data"]
    assert card["id"] == "sim"
    assert card["object"] == "model"
    assert card["context_window"] > 0
    assert front.http.get("/v1/models/sim").json() == card


def test_readiness(front: Any) -> None:
    page = front.http.get("/v1/models/sim/ready").json()
    assert page == {
        "model": "sim",
        "ready": True,
        "namespaces": {
            "default": {
                "ready": True,
                "worker_types": {"aggregated": {"workers": 2, "needs": []}},
                "present": ["aggregated"],
                "missing_worker_types": [],
            }
        },
    }


def test_ids_with_slashes_and_adapters(site: Any, scripted: Any, scripted_front: Any) -> None:
    assert scripted_front  # its page was read before this one changes it
    listed = b'{"data":[{"id":"org/base","max_model_len":512},{"id":"org/fine","parent":"org/base"}]}'
    before = scripted.answers["/v1/models"]
    scripted.answers["/v1/models"] = (200, "application/json", listed)
    try:
        front = site.frontend(site.endpoints(scripted.entry())).listed("org/base")
        assert front.http.get("/v1/models/org/fine").json()["parent"] == "org/base"
        assert front.http.get("/v1/models/org%2Ffine").json()["context_window"] == 512
        assert front.http.get("/v1/models/org/fine/ready").json()["ready"] is True
    finally:
        scripted.answers["/v1/models"] = before


def test_a_model_loaded_later_is_found_when_asked_for(site: Any, scripted: Any, scripted_front: Any) -> None:
    scripted.answers[CHAT] = (200, "application/json", b"{}")
    before = scripted.answers["/v1/models"]
    listed = b'{"data":[{"id":"scripted"},{"id":"fresh","parent":"scripted"}]}'
    scripted.answers["/v1/models"] = (200, "application/json", listed)
    try:
        answer = scripted_front.http.post(CHAT, json={"model": "fresh", "messages": HI})
        assert answer.status_code == 200, answer.text
    finally:
        scripted.answers["/v1/models"] = before


@pytest.mark.parametrize("path", ["/live", "/health", "/v1/models", "/docs", "/openapi.json", "/metrics"])
def test_head(front: Any, path: str) -> None:
    answer = front.http.head(path)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0
    assert answer.content == b""


def test_every_route_is_described(front: Any) -> None:
    page = front.http.get("/openapi.json").json()
    assert page["openapi"].startswith("3.")
    wanted = {
        "/busy_threshold",
        "/docs",
        "/health",
        "/live",
        "/metrics",
        "/openapi.json",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/models/{model}/ready",
        "/v1/responses",
        "/v1/route",
        "/v1/videos/generations",
        "/v1/videos/generations/stream",
        "/tokenize",
        "/detokenize",
    }
    assert wanted <= page["paths"].keys()
    ids = [operation["operationId"] for methods in page["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_the_docs_need_nothing_from_elsewhere(front: Any) -> None:
    page = front.http.get("/docs").text
    assert "<code>/v1/chat/completions</code>" in page
    assert not re.search(r"(?:src|href)=['\"]?(?:https?:)?//", page)
    assert "<script" not in page


def test_metrics_of_both(front: Any) -> None:
    front.http.post(CHAT, json={"model": "sim", "messages": HI, "max_tokens": 1})
    page = front.http.get("/metrics").text
    assert 'dynamo_frontend_requests_total{endpoint="chat_completions"' in page
    assert "llm_d_epp_" in page


def test_tokenize_and_back(front: Any) -> None:
    told = front.http.post("/tokenize", json={"model": "sim", "prompt": "hello world"}).json()
    assert told["count"] == len(told["tokens"]) > 0
    assert told["max_model_len"] > 0
    assert told["token_strs"] is None
    back = front.http.post("/detokenize", json={"model": "sim", "tokens": told["tokens"]}).json()
    assert back["prompt"].endswith("hello world")


def test_tokenize_agrees_with_the_engine(front: Any, pool: Any) -> None:
    engine = f"http://{pool[0]['address']}:{pool[0]['port']}"
    body = {"model": "sim", "messages": HI}
    ours = front.http.post("/tokenize", json=body).json()
    theirs = front.http.post(f"{engine}/tokenize", json=body).json()
    assert ours["tokens"] == theirs["tokens"]
    pieces = front.http.post("/tokenize", json={**body, "return_token_strs": True}).json()["token_strs"]
    assert len(pieces) == ours["count"]


def test_tokenize_asks_a_worker_without_a_tokenizer(scripted_front: Any, scripted: Any) -> None:
    scripted.answers["/tokenize"] = (200, "application/json", b'{"count":1,"tokens":[7]}')
    scripted.answers["/detokenize"] = (200, "application/json", b'{"prompt":"x"}')
    asked = scripted_front.http.post("/tokenize", json={"model": "scripted", "prompt": "x"})
    assert asked.json() == {"count": 1, "tokens": [7]}
    asked = scripted_front.http.post("/detokenize", json={"model": "scripted", "tokens": [7]})
    assert asked.json() == {"prompt": "x"}


def test_route_runs_nothing(front: Any) -> None:
    body = {"model": "sim", "messages": HI}
    page = front.http.post("/v1/route", json=body).json()
    assert page["token_ids"] == front.http.post("/tokenize", json=body).json()["tokens"]
    assert page["worker"]["role"] == "aggregated"
    explained = front.http.post("/v1/route?explain=true", json=body).json()
    assert explained["explanation"]
    other = front.http.post("/v1/route", json={"model": "sim", "prompt": "hi"}).json()
    assert other["token_ids"] != page["token_ids"]


class TestBusyThreshold:
    PATH = "/busy_threshold"

    def test_reading_and_writing(self, front: Any) -> None:
        wanted = {"active_prefill_tokens_threshold": 10_000_000}
        written = front.http.post(self.PATH, json={"model": "sim", **wanted})
        assert written.status_code == 200
        assert written.json()["active_prefill_tokens_threshold"] == 10_000_000
        assert front.http.post(self.PATH, json={"model": "sim"}).json() == written.json()
        assert written.json() in front.http.get(self.PATH).json()["thresholds"]
        cleared = {"model": "sim", "active_prefill_tokens_threshold": None}
        assert front.http.post(self.PATH, json=cleared).json()["active_prefill_tokens_threshold"] is None

    def test_reading_an_unknown_model(self, front: Any) -> None:
        assert front.http.post(self.PATH, json={"model": "zz"}).json() == {
            "model": "zz",
            "active_decode_blocks_threshold": None,
            "active_prefill_tokens_threshold": None,
            "active_prefill_tokens_threshold_frac": None,
        }

    @pytest.mark.parametrize(
        ("body", "status", "error"),
        [
            (
                {"model": "zz", "active_decode_blocks_threshold": 0.5},
                404,
                "Model 'zz' not found. Thresholds can only be set for discovered models.",
            ),
            (
                {"model": "sim", "active_decode_blocks_threshold": 2.5},
                400,
                "active_decode_blocks_threshold must be between 0.0 and 1.0, got 2.5",
            ),
            ({"model": "sim", "active_decode_blocks_threshold": "x"}, 422, "active_decode_blocks_threshold"),
            ({"model": "sim", "active_decode_block_threshold": 0.5}, 422, "unknown field"),
            ({}, 422, "model"),
        ],
    )
    def test_refusals(self, front: Any, body: Any, status: int, error: str) -> None:
        answer = front.http.post(self.PATH, json=body)
        assert answer.status_code == status
        assert error in answer.json()["error"]
        assert answer.json()["code"] == status

    def test_no_json(self, front: Any) -> None:
        assert front.http.post(self.PATH, content=b"{").status_code == 400
