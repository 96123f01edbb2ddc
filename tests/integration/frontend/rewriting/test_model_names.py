"""Requests for a model that another one answers: the answers name the one that was asked for."""

import json
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import MODEL, Front, ScriptedWorker, Site, until

ASKED = "the-clients-model"
FORCED = {"x-llm-d-model-name-rewrite": MODEL}
TALK: Any = [{"role": "user", "content": f'Say "model": "{MODEL}", please.'}]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": TALK, "max_tokens": 5},
    COMPLETIONS: {"prompt": f'{{"model": "{MODEL}"}}', "max_tokens": 5, "echo": True},
    MESSAGES: {"messages": TALK, "max_tokens": 5},
    RESPONSES: {"input": TALK, "max_output_tokens": 5},
}
OUTCOMES = "epp_model_names_restored_total"


@pytest.fixture(scope="module", params=["engine", "frontend"])
def serving(request: pytest.FixtureRequest, site: Site, pool: Any) -> Front:
    """Whose text it is: the engine's, or made here of its tokens."""
    model = ("--router-mode", "kv", "--model-path", str(site.model_dir), "--model-name", MODEL)
    flags = ("--enable-anthropic-api", "--postprocess", request.param, "--migration-limit", "1")
    return site.frontend(site.endpoints(*pool), *flags, *model).listed().serves()


def named(tree: dict[str, Any]) -> set[str]:
    """Every name an answer or an event gives its model."""
    holders = [tree, tree.get("response"), tree.get("message")]
    return {holder["model"] for holder in holders if isinstance(holder, dict) and "model" in holder}


def events(text: str) -> list[dict[str, Any]]:
    said = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in said if data != "[DONE]"]


def counted(front: Front, outcome: str) -> float:
    page = front.http.get("/metrics").text.splitlines()
    found = [line for line in page if line.startswith(f'{OUTCOMES}{{outcome="{outcome}"}}')]
    return float(found[0].split()[-1]) if found else 0.0


@pytest.mark.parametrize("path", list(BODIES))
def test_whole_answers_name_the_clients_model(serving: Front, path: str) -> None:
    plain = serving.http.post(path, json=BODIES[path] | {"model": MODEL})
    before = counted(serving, "restored")
    answer = serving.http.post(path, json=BODIES[path] | {"model": ASKED}, headers=FORCED)
    assert (plain.status_code, answer.status_code) == (200, 200), answer.text
    assert named(plain.json()) == {MODEL}
    assert named(answer.json()) == {ASKED}
    assert answer.headers["x-llm-d-model-name-rewrite"] == MODEL
    assert "x-llm-d-model-name-rewrite" not in plain.headers
    if path == COMPLETIONS:
        assert answer.json()["choices"] == plain.json()["choices"]
    until(lambda: counted(serving, "restored") == before + 1, "counted")


@pytest.mark.parametrize("path", list(BODIES))
def test_streams_name_the_clients_model(serving: Front, path: str) -> None:
    asked = BODIES[path] | {"stream": True}
    plain = events(serving.http.post(path, json=asked | {"model": MODEL}).text)
    told = events(serving.http.post(path, json=asked | {"model": ASKED}, headers=FORCED).text)
    assert set().union(*map(named, plain)) == {MODEL}
    assert set().union(*map(named, told)) == {ASKED}
    assert [named(event) != set() for event in plain] == [named(event) != set() for event in told]


def test_questions_name_the_clients_model(serving: Front) -> None:
    asked = BODIES[CHAT] | {"model": ASKED}
    page = serving.http.post("/v1/route", json=asked, headers=FORCED)
    assert (page.status_code, page.json()["model"]) == (200, ASKED)
    asked["nvext"] = {"annotations": ["query_instance_id:"]}
    assert serving.http.post(CHAT, json=asked, headers=FORCED).json()["model"] == ASKED


def test_lists_and_labels_are_as_ever(serving: Front) -> None:
    serving.http.post(CHAT, json=BODIES[CHAT] | {"model": ASKED}, headers=FORCED)
    assert ASKED not in serving.http.get("/v1/models").text
    labels = (f'model="{ASKED}"', f'model_name="{ASKED}",priority="0",target_model_name="{MODEL}"')
    until(lambda: all(label in serving.http.get("/metrics").text for label in labels), "counted by name")


def test_a_model_that_nobody_serves_is_not_found(serving: Front) -> None:
    answer = serving.http.post(CHAT, json=BODIES[CHAT] | {"model": ASKED})
    assert answer.status_code == 404


class TestOneWorkersAnswers:
    """What a worker may say in its own way, and what cannot be changed."""

    @pytest.fixture(autouse=True)
    def answers(self, scripted: ScriptedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scripted, "answers", dict(scripted.answers))

    @pytest.mark.parametrize(
        ("said", "shown", "outcome"),
        [
            (b'{"choices":[],\r\n\t"model" : "x\\"y"}', b'{"choices":[],\r\n\t"model" : "%b"}', "restored"),
            (b'{"object":"error","message":"no"}', b'{"object":"error","message":"no"}', "absent"),
        ],
    )
    def test_json(
        self, scripted: ScriptedWorker, scripted_front: Front, said: bytes, shown: bytes, outcome: str
    ) -> None:
        before = counted(scripted_front, outcome)
        answer = self.asked(scripted, scripted_front, "application/json", said)
        assert answer.content == shown.replace(b"%b", ASKED.encode())
        assert json.loads(scripted.last(CHAT)[1])["model"] == "scripted"
        until(lambda: counted(scripted_front, outcome) == before + 1, "counted")

    def test_other_types_pass_with_their_length(
        self, scripted: ScriptedWorker, scripted_front: Front
    ) -> None:
        before, said = counted(scripted_front, "other-type"), b'{"model":"scripted"}'
        answer = self.asked(scripted, scripted_front, "audio/mpeg", said)
        assert (answer.content, answer.headers["content-length"]) == (said, str(len(said)))
        until(lambda: counted(scripted_front, "other-type") == before + 1, "counted")

    def asked(self, scripted: ScriptedWorker, front: Front, kind: str, said: bytes) -> httpx.Response:
        scripted.answers[CHAT] = (200, kind, said)
        forced = {"x-llm-d-model-name-rewrite": "scripted"}
        return front.http.post(CHAT, json=BODIES[CHAT] | {"model": ASKED}, headers=forced)
