"""The contract that cases are judged by is Envoy's: where it gives up, so does a real Envoy."""

import httpx
import pytest

from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import BodyModeName, EnvoyOptions

from .flaws import (
    AnswersPlainly,
    EndsEveryPiece,
    HeadAfterBody,
    PlainResponseBodies,
    SetsLineBreaks,
    StreamedResponseBodies,
    StreamsBuffered,
)
from .tiny import TinyPicker

pytestmark = pytest.mark.envoy

DUPLEX, BUFFERED, STREAMED = (
    BodyModeName.FULL_DUPLEX_STREAMED,
    BodyModeName.BUFFERED,
    BodyModeName.STREAMED,
)
BODY = b"z" * 100_000


@pytest.mark.parametrize(
    ("picker", "request_mode", "response_mode", "served"),
    [
        (TinyPicker, DUPLEX, DUPLEX, True),
        (TinyPicker, BUFFERED, BUFFERED, True),
        (StreamedResponseBodies, DUPLEX, STREAMED, True),
        (AnswersPlainly, DUPLEX, DUPLEX, False),
        (EndsEveryPiece, DUPLEX, DUPLEX, False),
        (HeadAfterBody, DUPLEX, DUPLEX, False),
        (SetsLineBreaks, DUPLEX, DUPLEX, False),
        (StreamsBuffered, BUFFERED, BUFFERED, False),
        (PlainResponseBodies, DUPLEX, DUPLEX, False),
        (StreamedResponseBodies, DUPLEX, BUFFERED, False),
    ],
)
async def test_envoy_agrees(
    picker: type[TinyPicker], request_mode: BodyModeName, response_mode: BodyModeName, served: bool
) -> None:
    async with EchoBackend() as backend, picker((backend.host_port,)).serving() as port:
        options = EnvoyOptions(pickers=[port], request_body=request_mode, response_body=response_mode)
        async with EnvoyProcess(options) as envoy, httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(f"http://127.0.0.1:{envoy.port}/", content=BODY)
        if served:
            assert (answer.status_code, answer.json()["bytes"]) == (200, len(BODY))
        else:
            assert answer.status_code == 500
