"""The ZMQ envelope and rank addresses."""

import pytest

from epp.wire.zmqframes import FrameError, Sequenced, parse_live, parse_replay, rank_address, replay_request

SEQ7 = (7).to_bytes(8, "big")
END = b"\xff" * 8


def test_live_message_with_any_topic() -> None:
    assert parse_live([b"kv@10.0.0.1@m", SEQ7, b"x"]) == Sequenced(7, b"x")
    assert parse_live([b"", SEQ7, b""]) == Sequenced(7, b"")


@pytest.mark.parametrize("frames", [[], [b""], [b"", SEQ7], [b"", b"123", b"x"], [b"", SEQ7, b"x", b"y"]])
def test_live_message_of_another_shape(frames: list[bytes]) -> None:
    with pytest.raises(FrameError):
        parse_live(frames)


@pytest.mark.parametrize(
    "frames",
    [[b"", SEQ7, b"x"], [b"", b"topic", SEQ7, b"x"], [b"", b"", SEQ7, b"x"], [SEQ7, b"x"]],
    ids=["without topic", "with topic", "with empty topic", "no delimiter"],
)
def test_both_replay_lengths(frames: list[bytes]) -> None:
    assert parse_replay(frames) == Sequenced(7, b"x")


@pytest.mark.parametrize("frames", [[b"", END, b""], [b"", b"", END, b""]])
def test_end_of_replay(frames: list[bytes]) -> None:
    assert parse_replay(frames) is None


@pytest.mark.parametrize(
    "frames", [[], [b""], [b"", b""], [b"", b"short", b"x"], [b"a", b"b", SEQ7, b"x", b""]]
)
def test_replay_of_another_shape(frames: list[bytes]) -> None:
    with pytest.raises(FrameError):
        parse_replay(frames)


def test_replay_request_is_what_a_router_socket_expects() -> None:
    assert replay_request(7) == [b"", SEQ7]


def test_ranks_count_ports_up() -> None:
    assert rank_address("tcp://10.0.0.1:5557", 0, "10.0.0.1") == "tcp://10.0.0.1:5557"
    assert rank_address("tcp://[::1]:5557", 3, "::1") == "tcp://[::1]:5560"


def test_a_bind_address_becomes_the_workers_own() -> None:
    assert rank_address("tcp://*:5557", 1, "10.0.0.1") == "tcp://10.0.0.1:5558"
    assert rank_address("tcp://*:5557", 0, "fd00::1") == "tcp://[fd00::1]:5557"


def test_sockets_without_a_port_serve_one_rank() -> None:
    assert rank_address("ipc:///tmp/kv", 0, "10.0.0.1") == "ipc:///tmp/kv"
    with pytest.raises(ValueError, match="rank 1"):
        rank_address("ipc:///tmp/kv", 1, "10.0.0.1")


@pytest.mark.parametrize("base", ["", "tcp://h", "tcp://h:0", "tcp://h:99999", "udp://h:1", "tcp://::1:5"])
def test_unusable_addresses(base: str) -> None:
    with pytest.raises(ValueError, match=r"tcp|port"):
        rank_address(base, 0, "h")
