"""What can be seen of a request from outside: traces at a collector, metrics, the access log."""

import json
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.frontend.conftest import Front, ScriptedWorker, Site, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
CHAT = "/v1/chat/completions"
ANSWER = {
    "id": "x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
}


@pytest.fixture(scope="module")
def collector() -> Iterator[ScriptedWorker]:
    worker = ScriptedWorker()
    worker.answers["/v1/traces"] = (200, "application/json", b"{}")
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def traced(site: Site, scripted: ScriptedWorker, collector: ScriptedWorker) -> Front:
    scripted.answers[CHAT] = (200, "application/json", json.dumps(ANSWER).encode())
    url = f"http://127.0.0.1:{collector.entry()['port']}"
    flags = ("--otlp-endpoint", url, "--metrics-prefix", "mine", "--log-format", "json")
    return site.frontend(site.endpoints(scripted.entry()), *flags).serves("scripted")


def ask(front: Front) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "seen-1"}
    assert front.http.post(CHAT, json=body, headers=headers).status_code == 200


def test_a_trace_goes_from_the_client_through_the_frontend_to_the_worker(
    traced: Front, scripted: ScriptedWorker, collector: ScriptedWorker
) -> None:
    ask(traced)
    headers, _ = scripted.last(CHAT)
    _, trace, child, _ = headers["traceparent"].split("-")
    assert trace == TRACE
    until(lambda: any(path == "/v1/traces" for path, _, _ in collector.asked), "an export")
    _, exported = collector.last("/v1/traces")
    (resource,) = json.loads(exported)["resourceSpans"]
    span = resource["scopeSpans"][0]["spans"][0]
    assert (span["traceId"], span["parentSpanId"], span["spanId"]) == (TRACE, PARENT, child)
    assert span["kind"] == 2, "server"
    attributes = {a["key"]: a["value"] for a in span["attributes"]}
    assert attributes["llm.worker"] == {"stringValue": f"127.0.0.1:{scripted.entry()['port']}"}
    assert attributes["gen_ai.usage.input_tokens"] == {"intValue": "7"}
    assert int(span["endTimeUnixNano"]) > int(span["startTimeUnixNano"])
    of_process = {a["key"]: a["value"] for a in resource["resource"]["attributes"]}
    assert of_process["service.name"] == {"stringValue": "frontend"}


def test_metrics_have_the_prefix_asked_for_and_what_the_answer_tells(traced: Front) -> None:
    ask(traced)
    families = text_string_to_metric_families(traced.http.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]

    def value(name: str, **labels: str) -> float:
        return next(
            s.value for s in samples if s.name == f"mine_{name}" and labels.items() <= s.labels.items()
        )

    assert value("requests_total", endpoint="chat_completions", request_type="unary", status="success") >= 1
    assert value("cached_tokens_sum", model="scripted") >= 4
    assert value("inflight_requests", model="scripted") == 0


def test_what_clients_hold_is_shown(traced: Front) -> None:
    families = text_string_to_metric_families(traced.http.get("/metrics").text)
    held = {family.name: family.samples[0].value for family in families if "_http_" in family.name}
    assert held["mine_http_connections"] >= 1
    assert held["mine_http_request_body_bytes"] == 0


def test_the_access_log_says_who_served_and_why(traced: Front, scripted: ScriptedWorker) -> None:
    ask(traced)

    def logged() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in traced.child.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["msg"] == "request" and line.get("request_id") == "seen-1"]

    until(lambda: bool(logged()), "a line")
    line = logged()[0]
    assert line["worker"] == f"scripted@127.0.0.1:{scripted.entry()['port']}"
    assert line["status"] == 200
    assert line["reason"]
    assert (line["prompt_tokens"], line["cached_tokens"]) == (7, 4)
