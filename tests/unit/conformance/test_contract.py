"""What a gateway on Envoy takes, and where it gives up."""

import pytest

from epp.conformance.answers import Answer, Mutation
from epp.conformance.contract import Direction
from epp.conformance.messages import Mode
from epp.conformance.model import FailedError


def answer(
    kind: str, piece: bytes | None = None, *, ends: bool = False, replacement: bytes | None = None
) -> Answer:
    return Answer(f"request_{kind}", Mutation(), piece, ends, replacement, None, None)


def direction(
    mode: Mode = Mode.FULL_DUPLEX_STREAMED, *, bodies: int = 1, trailers: bool = False
) -> Direction:
    side = Direction("request", mode)
    side.sent_head()
    for _ in range(bodies):
        side.sent_body()
    if trailers:
        side.sent_trailers()
    return side


def test_a_deferred_head_and_its_pieces() -> None:
    side = direction()
    for taken in (answer("headers"), answer("body", b"ab"), answer("body", b"c", ends=True)):
        side.take(taken)
    assert (bytes(side.given_back), side.pieces, side.ended) == (b"abc", [2, 1], True)


def test_a_replaced_body() -> None:
    side = direction(Mode.BUFFERED)
    side.take(answer("headers"))
    side.take(answer("body", replacement=b"new"))
    assert (bytes(side.given_back), side.bodies_open) == (b"new", 0)


def test_streamed_bodies_may_come_back_either_way() -> None:
    side = direction(Mode.STREAMED, bodies=2)
    for taken in (answer("headers"), answer("body"), answer("body", b"x")):
        side.take(taken)
    assert (bytes(side.given_back), side.bodies_open) == (b"x", 0)


def test_trailers() -> None:
    side = direction(trailers=True)
    for taken in (answer("headers"), answer("body", b"ab"), answer("trailers")):
        side.take(taken)
    assert (side.trailers_open, side.ended) == (False, False)


@pytest.mark.parametrize(
    ("side", "wrong"),
    [
        (direction(), [answer("body", b"x")]),
        (direction(), [answer("headers"), answer("headers")]),
        (direction(), [answer("headers", b"x")]),
        (direction(), [answer("headers"), answer("body")]),
        (direction(), [answer("headers"), answer("body", b"x", ends=True), answer("body", b"y")]),
        (direction(bodies=0), [answer("headers"), answer("body", b"x")]),
        (direction(), [answer("headers"), answer("trailers")]),
        (direction(trailers=True), [answer("trailers")]),
        (direction(Mode.BUFFERED), [answer("headers"), answer("body", b"x")]),
        (direction(Mode.BUFFERED), [answer("headers"), answer("body"), answer("body")]),
        (direction(Mode.STREAMED, bodies=0), [answer("headers"), answer("body")]),
    ],
)
def test_what_makes_a_gateway_give_up(side: Direction, wrong: list[Answer]) -> None:
    *fine, last = wrong
    for taken in fine:
        side.take(taken)
    with pytest.raises(FailedError, match="ends such a request with 500"):
        side.take(last)
