"""The outermost segment: answers name the model that the client named."""

import asyncio

import pytest

from epp.core.outcomes import HeaderPairs
from epp.core.restoring import Restored
from frontend.errors import ApiError
from frontend.http.api import Reply, whole
from frontend.pipeline.call import Call
from frontend.relay.rename import Rename
from tests.unit.frontend.fakes import FakeReply, call

JSON = (("content-type", "application/json"),)


class Saying:
    """A segment below that answers with these pieces; None: it never ends."""

    name = "saying"

    def __init__(self, *pieces: bytes | None, headers: HeaderPairs = JSON) -> None:
        self.pieces, self.headers = pieces, headers
        self.reply: Reply | None = None

    async def handle(self, call: Call, reply: Reply) -> None:
        self.reply = reply
        reply.start(200, self.headers)
        assert reply.started
        for piece in self.pieces:
            if piece is None:
                await asyncio.get_running_loop().create_future()
            else:
                reply.data(piece)
        reply.end()


async def answered(below: Saying, client_model: str | None = "chat") -> tuple[FakeReply, list[Restored]]:
    reply, outcomes = FakeReply(), list[Restored]()
    asked = call()
    asked.client_model = client_model
    await Rename(below, outcomes.append).handle(asked, reply)
    assert reply.ended
    return reply, outcomes


async def test_other_calls_pass_untouched() -> None:
    below = Saying(b'{"model":"m"}')
    reply, outcomes = await answered(below, client_model=None)
    assert below.reply is reply
    assert (reply.body, outcomes) == (b'{"model":"m"}', [])


async def test_the_name_is_put_back_and_the_length_left_out() -> None:
    reply, outcomes = await answered(
        Saying(b'{"model":', b'"', b"m", b'"}', headers=(*JSON, ("content-length", "13"), ("x-a", "b")))
    )
    assert reply.body == b'{"model":"chat"}'
    assert reply.headers == {"content-type": "application/json", "x-a": "b"}
    assert outcomes == [Restored.RESTORED]


async def test_what_cannot_be_read_keeps_its_length() -> None:
    headers = (("content-type", "audio/mpeg"), ("content-length", "3"))
    reply, outcomes = await answered(Saying(b"abc", headers=headers))
    assert (reply.body, reply.headers, outcomes) == (b"abc", dict(headers), [Restored.OTHER_TYPE])


async def test_a_client_that_leaves_is_counted_all_the_same() -> None:
    outcomes: list[Restored] = []
    asked = call()
    asked.client_model = "chat"
    below = Saying(b'{"model":"m"', None)
    task = asyncio.create_task(Rename(below, outcomes.append).handle(asked, FakeReply()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == [Restored.RESTORED]


async def test_a_call_that_is_refused_before_it_is_answered_is_not_counted() -> None:
    class Refusing(Saying):
        async def handle(self, call: Call, reply: Reply) -> None:
            raise ApiError(503, "nobody is there")

    outcomes: list[Restored] = []
    asked = call()
    asked.client_model = "chat"
    with pytest.raises(ApiError):
        await Rename(Refusing(), outcomes.append).handle(asked, FakeReply())
    assert outcomes == []


async def test_flow_control_reaches_the_source() -> None:
    class Flowing(Saying):
        async def handle(self, call: Call, reply: Reply) -> None:
            reply.attach(source)
            whole(reply, 200, JSON, b"{}")

    class Source:
        def pause(self) -> None: ...
        def resume(self) -> None: ...

    source = Source()
    reply, outcomes = await answered(Flowing())
    assert reply.source is source
    assert outcomes == [Restored.ABSENT]
