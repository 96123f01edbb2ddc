"""The ZMQ envelope of KV-cache events (vLLM, SGLang, Dynamo's mocker) and where each rank publishes.

Live (PUB): ``[topic, seq, payload]``, seq 8 bytes big-endian, one more for every message of a rank's
process, from 0. Any topic is accepted: engines put their own address or nothing there.

Replay (ROUTER), asked from a DEALER with ``[b"", start_seq]``: one reply per buffered message, without the
topic (vLLM up to 0.24) or with it (later, SGLang), then an end marker whose seq is eight 0xff bytes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SEQ_BYTES: Final = 8
_END_OF_REPLAY: Final = b"\xff" * _SEQ_BYTES
_TCP: Final = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]/:]+):(?P<port>[0-9]{1,5})")
_MAX_PORT: Final = 65535


class FrameError(ValueError):
    """A message does not have the envelope above; the text says how."""


@dataclass(frozen=True, slots=True)
class Sequenced:
    """One message of a rank's stream."""

    seq: int
    payload: bytes


def parse_live(frames: Sequence[bytes]) -> Sequenced:
    """A message of the PUB socket; raises FrameError."""
    if len(frames) != 3:
        raise FrameError(f"{len(frames)} frames instead of topic, seq, payload")
    return Sequenced(_seq(frames[1]), frames[2])


def parse_replay(frames: Sequence[bytes]) -> Sequenced | None:
    """A reply of the ROUTER socket, None for the end marker; raises FrameError."""
    body = frames[1:] if frames and not frames[0] else frames
    if len(body) == 3:
        body = body[1:]  # the topic
    if len(body) != 2:
        raise FrameError(f"a replay reply of {len(frames)} frames")
    if body[0] == _END_OF_REPLAY:
        return None
    return Sequenced(_seq(body[0]), body[1])


def replay_request(start_seq: int) -> list[bytes]:
    """Frames that ask a ROUTER, from a DEALER, for everything from ``start_seq`` on."""
    return [b"", start_seq.to_bytes(_SEQ_BYTES, "big")]


def _seq(frame: bytes) -> int:
    if len(frame) != _SEQ_BYTES:
        raise FrameError(f"a seq of {len(frame)} bytes")
    return int.from_bytes(frame, "big")


def rank_address(base: str, rank: int, host: str) -> str:
    """Where rank ``rank`` listens when rank 0 listens on ``base``: the port grows by one per rank.

    ``*`` and ``0.0.0.0``, as engines are configured to bind, become ``host``. Addresses other than
    ``tcp://`` have no port and serve rank 0 alone. Raises ValueError.
    """
    match = _TCP.fullmatch(base)
    if match is None:
        if rank == 0 and base.startswith(("ipc://", "inproc://")):
            return base
        raise ValueError(f"{base!r} is not tcp://HOST:PORT" + (f" (rank {rank})" if rank else ""))
    port = int(match["port"]) + rank
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"{base!r}: rank {rank} would be on port {port}")
    named = match["host"]
    if named in ("*", "0.0.0.0", "[::]"):  # noqa: S104 -- recognized, not bound
        named = f"[{host}]" if ":" in host else host
    return f"tcp://{named}:{port}"
