"""The client's name of its model in the answers to rewritten requests, through a real Envoy."""

import json

import httpx
import pytest

from epp.core.outcomes import Picked, PickInput
from epp.testing.backend import EchoBackend
from epp.testing.envoy_config import BodyModeName, EnvoyOptions

from .conftest import Answering, running_door, staged

pytestmark = pytest.mark.envoy

ASKED = "a-model-with-a-rather-long-name"
ANSWERING = "m"
BODY = json.dumps({"model": ASKED, "prompt": "x"}).encode()
DUPLEX, BUFFERED = BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED
SEEN = (
    (DUPLEX, DUPLEX),
    (BUFFERED, BUFFERED),
    (DUPLEX, BodyModeName.STREAMED),
    (BUFFERED, BodyModeName.BUFFERED_PARTIAL),
)
"""Request and response body modes in which the response's bodies come to the picker."""


@pytest.fixture
def rewriting(backend: EchoBackend) -> Answering:
    def answer(request: PickInput) -> Picked:
        return Picked((backend.host_port,), request.request_id, body=BODY, client_model=ASKED)

    return answer


async def asked(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    named = {f"x-{name.replace('_', '-')}": value for name, value in headers.items()}
    response = await client.post("/v1/completions", content=BODY, headers=named)
    assert response.status_code == 200, response.text
    return response


def names(stream: str) -> list[str]:
    return [json.loads(line.removeprefix("data: "))["model"] for line in stream.splitlines() if line]


@pytest.mark.parametrize(("request_mode", "mode"), SEEN)
@pytest.mark.parametrize("h2", [False, True])
@pytest.mark.parametrize("told", [ANSWERING, ASKED * 9])
async def test_names_come_back(
    rewriting: Answering, request_mode: BodyModeName, mode: BodyModeName, h2: bool, told: str
) -> None:
    options = EnvoyOptions((), request_body=request_mode, response_body=mode, downstream_h2=h2)
    async with running_door(rewriting) as door, staged(door, options) as stage:
        whole = await asked(stage.client, model=told)
        assert whole.json()["model"] == ASKED
        assert whole.json()["bytes"] == len(BODY)
        for cut in ("0", "7", "100"):
            stream = await asked(stage.client, model=told, events="30", piece_bytes=cut)
            assert names(stream.text) == [ASKED] * 30
        assert set(await door.settled(4)) == {"completed"}
        assert door.metrics.counts["model restored"] == 4
        assert not [k for k in door.metrics.counts if k.startswith(("error", "immediate"))]


@pytest.mark.parametrize("mode", [DUPLEX, BUFFERED])
async def test_compressed_answers_pass(rewriting: Answering, mode: BodyModeName) -> None:
    options = EnvoyOptions((), request_body=mode, response_body=mode)
    async with running_door(rewriting) as door, staged(door, options) as stage:
        answer = await asked(stage.client, model=ANSWERING, gzip="yes")
        assert answer.json()["model"] == ANSWERING
        assert set(await door.settled(1)) == {"completed"}
        assert door.metrics.counts["model encoded"] == 1


@pytest.mark.parametrize("h2", [False, True])
async def test_a_gateway_that_keeps_bodies_to_itself_is_asked_for_them(
    rewriting: Answering, h2: bool
) -> None:
    options = EnvoyOptions((), request_body=BUFFERED, mode_override=True, downstream_h2=h2)
    async with running_door(rewriting) as door, staged(door, options) as stage:
        assert (await asked(stage.client, model=ANSWERING)).json()["model"] == ASKED
        for cut in ("0", "7"):
            stream = await asked(stage.client, model=ANSWERING, events="30", piece_bytes=cut)
            assert names(stream.text) == [ASKED] * 30
        assert set(await door.settled(3)) == {"completed"}
        assert door.metrics.counts["model restored"] == 3


@pytest.mark.parametrize(("mode", "listens"), [(DUPLEX, False), (DUPLEX, True), (BUFFERED, False)])
async def test_where_asking_is_of_no_use_answers_pass_as_they_are(
    rewriting: Answering, mode: BodyModeName, listens: bool
) -> None:
    options = EnvoyOptions((), request_body=mode, mode_override=listens)
    async with running_door(rewriting) as door, staged(door, options) as stage:
        assert (await asked(stage.client, model=ANSWERING)).json()["model"] == ANSWERING
        assert set(await door.settled(1)) == {"completed"}
        assert door.metrics.counts["model unseen"] == 1
