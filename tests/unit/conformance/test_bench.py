"""What is made of a picker's replies."""

import json
from typing import Any

import pytest

from epp.conformance.answers import Mutation
from epp.conformance.bench import Bench, Target, entries, inside, picked, refused, tolerated
from epp.conformance.exchange import Reply
from epp.conformance.model import FailedError
from epp.conformance.transport import Address, parse_address


class NoChannel:
    def stream_stream(self, _method: str) -> None: ...


BENCH = Bench(Target(Address("127.0.0.1", 1)), NoChannel(), NoChannel())


def reply(header: str | None = None, metadata: str | None = None, status: int | None = None) -> Reply:
    return Reply(status, header, metadata, Mutation(), b"", (), 0.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10.0.0.1:80", ("10.0.0.1:80",)),
        ("10.0.0.1:80, [fd00::1]:80", ("10.0.0.1:80", "[fd00::1]:80")),
    ],
)
def test_destinations(value: str, expected: tuple[str, ...]) -> None:
    assert entries(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "host:80", "fd00::1:80", "[10.0.0.1]:80",
     "10.0.0.1:80,", "10.0.0.1:\u0661"],
)  # fmt: skip
def test_what_is_no_destination(value: str) -> None:
    with pytest.raises(FailedError, match="is not ip:port"):
        entries(value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (reply(status=503), "status 503"),
        (reply(metadata="10.0.0.1:80"), "headers set"),
        (reply("10.0.0.1:80"), "dynamic metadata"),
        (reply("10.0.0.1:80", "10.0.0.2:80"), "the metadata"),
    ],
)
def test_who_was_not_sent_anywhere(wrong: Reply, words: str) -> None:
    with pytest.raises(FailedError, match=words):
        picked(wrong)


def test_fallbacks_have_to_be_allowed_too() -> None:
    sent = reply("10.0.0.1:80,10.0.0.2:80", "10.0.0.1:80,10.0.0.2:80")
    assert inside(sent, ["10.0.0.2:80", "10.0.0.1:80"]) == ("10.0.0.1:80", "10.0.0.2:80")
    with pytest.raises(FailedError, match=r"10\.0\.0\.2:80 is not among"):
        inside(sent, ["10.0.0.1:80"])


def test_refusals() -> None:
    assert "503" in refused(reply(status=503), 503)
    assert "404" in tolerated(reply(status=404))
    assert "10.0.0.1:80" in tolerated(reply("10.0.0.1:80", "10.0.0.1:80"))
    for wrong, statuses in ((reply(status=500), (503,)), (reply("10.0.0.1:80", "10.0.0.1:80"), (503,))):
        with pytest.raises(FailedError):
            refused(wrong, *statuses)
    with pytest.raises(FailedError, match="500"):
        tolerated(reply(status=500))


@pytest.mark.parametrize("size_bytes", [100, 1000, 70_000])
def test_bodies_of_a_size(size_bytes: int) -> None:
    body = BENCH.chat_of(size_bytes)
    document: Any = json.loads(body)
    assert (len(body), document["model"]) == (size_bytes, "model")


def test_addresses() -> None:
    assert parse_address("[::1]:9002") == ("::1", 9002)
    assert parse_address("picker.default.svc:9002") == ("picker.default.svc", 9002)
    assert str(Address("::1", 9002)) == "[::1]:9002"
    for wrong in ("", "9002", ":9002", "host:", "host:0", "host:99999", "::1:9002", "host:x"):
        with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
            parse_address(wrong)
