"""Headers a pick has for the client ride on the head of the response."""

import pytest

from epp.config.model import ServerConfig
from epp.core.events import AnswerHeaders, PickReturned, RequestHeaders, ResponseHeaders, Side
from epp.core.exchange import Exchange
from epp.core.outcomes import HeaderPairs, Picked


def response_head(config: ServerConfig, told: HeaderPairs) -> AnswerHeaders:
    exchange = Exchange(config)
    exchange.receive(RequestHeaders({":path": "/v1/models"}, end_of_stream=True))
    exchange.receive(PickReturned(Picked(("10.0.0.1:8000",), "id", response_headers=told)))
    head = ResponseHeaders({":status": "200"}, end_of_stream=False, served="10.0.0.1:8000")
    (answer,) = (a for a in exchange.receive(head) if isinstance(a, AnswerHeaders))
    assert answer.side is Side.RESPONSE
    return answer


@pytest.mark.parametrize("told", [(), (("x-session-token", "abc"),)])
def test_they_are_set(told: HeaderPairs) -> None:
    assert response_head(ServerConfig(), told).set_headers == told


def test_framing_is_the_gateways() -> None:
    told = (("content-length", "5"), ("x-session-token", "a\nb"), ("X-Fine", "yes"))
    assert response_head(ServerConfig(), told).set_headers == (("x-fine", "yes"),)


def test_the_conformance_header_comes_beside_them() -> None:
    names = [n for n, _ in response_head(ServerConfig(conformance=True), (("x-a", "b"),)).set_headers]
    assert names == ["x-a", "x-conformance-test-served-endpoint"]
