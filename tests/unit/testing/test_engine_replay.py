"""The replay buffer and its requests."""

import pytest

from epp.testing.engine.publisher import ReplayBuffer, parse_replay_request


def test_only_the_newest_batches_are_kept() -> None:
    buffer = ReplayBuffer(2)
    assert [buffer.append(payload) for payload in (b"a", b"b", b"c")] == [0, 1, 2]
    assert buffer.since(0) == [(1, b"b"), (2, b"c")]
    assert buffer.since(2) == [(2, b"c")]
    assert buffer.since(9) == []


def test_a_request_names_the_first_batch_wanted() -> None:
    assert parse_replay_request([b"me", b"", (7).to_bytes(8, "big")]) == (b"me", 7)


@pytest.mark.parametrize(
    "frames", [[], [b"me"], [b"me", b"", b"short"], [b"me", b"x", b"\0" * 8], [b"me", b"", b"\0" * 8, b""]]
)
def test_what_is_no_request_is_none(frames: list[bytes]) -> None:
    assert parse_replay_request(frames) is None
