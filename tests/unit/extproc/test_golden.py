"""Conversations recorded from a real Envoy, replayed through the door."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from epp.config.model import ServerConfig
from epp.core.outcomes import Picked, PickInput
from epp.extproc.aio import stream as stream_module
from epp.extproc.aio.stream import Stream
from epp.extproc.metrics import NullMetrics
from epp.testing.picks import ScriptedEngine

FOLDER = Path(__file__).parents[2] / "golden" / "extproc"
CONVERSATIONS = [
    pytest.param(conversation, id=f"{path.stem}-{conversation['request']}")
    for path in sorted(FOLDER.glob("*.json"))
    for conversation in json.loads(path.read_text())
]


class Replay:
    """The gateway's side of a recording; then it half-closes."""

    def __init__(self, messages: list[str]) -> None:
        self.messages = [base64.b64decode(message) for message in messages]
        self.sent: list[str] = []

    async def read(self) -> object:
        return self.messages.pop(0) if self.messages else None

    async def write(self, message: bytes) -> None:
        self.sent.append(base64.b64encode(message).decode())


@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_a_recorded_gateway_gets_the_recorded_answers(
    conversation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "RESET_GRACE_S", 0)

    def answer(request: PickInput) -> Picked:
        headers = (("x-dynamo-worker-instance-id", "7"),)
        return Picked((conversation["destination"],), request.request_id, headers)

    engine, call = ScriptedEngine(answer), Replay(conversation["received"])
    await Stream(call, engine, ServerConfig(), NullMetrics()).run()
    assert call.sent == conversation["sent"]
    assert [str(finished.ending) for finished in engine.finished] == ["completed"]
    assert engine.finished[0].facts.status == 200


def test_there_are_recordings() -> None:
    assert len(CONVERSATIONS) == 12
