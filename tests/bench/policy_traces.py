"""Requests for the policy bench: read from a trace file, or made up in several shapes.

A trace has one JSON object per line: ``timestamp`` (ms), ``input_length``, ``output_length`` (tokens) and
``hash_ids``, one id per 512 tokens, the partial last block included; equal ids mean equal prefixes (the
format of the traces published with Mooncake).
"""

import itertools
import json
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

TRACE_BLOCK_TOKENS = 512
SCALE = 128
"""Prompts are built this many times shorter; every number printed is in tokens of the trace."""
BLOCK_TOKENS = TRACE_BLOCK_TOKENS // SCALE

_BLOCK = struct.Struct("<4I")


class Line(TypedDict):
    """One line of a trace."""

    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int]


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a trace, ready to be asked."""

    number: int
    """From 1."""
    at_s: float
    tokens: bytes
    blocks: tuple[int, ...]
    """Names of the full blocks of the prompt."""
    output_tokens: int


def block_tokens(name: int) -> bytes:
    """The token ids of a block: its name, over and over."""
    return _BLOCK.pack(*[name + 1] * BLOCK_TOKENS)


def read_trace(path: Path) -> list[Request]:
    """The requests of a trace file; raises ValueError or KeyError for a line that is none."""
    return _requests(map(json.loads, path.read_text().splitlines()))


def made_up(shape: str, seed: int, requests: int) -> list[Request]:
    """As many requests of a shape; equal arguments give equal requests."""
    lines = itertools.islice(SHAPES[shape](random.Random(f"{shape} {seed}")), requests)
    return _requests(sorted(lines, key=lambda line: line["timestamp"]))


def _requests(lines: Iterable[Line]) -> list[Request]:
    return [_request(number, line) for number, line in enumerate(lines, start=1)]


def _request(number: int, line: Line) -> Request:
    tokens = b"".join(map(block_tokens, line["hash_ids"]))
    count = -(-line["input_length"] // SCALE)
    return Request(
        number=number,
        at_s=line["timestamp"] / 1000,
        tokens=tokens[: 4 * count],
        blocks=tuple(line["hash_ids"][: count // BLOCK_TOKENS]),
        output_tokens=line["output_length"],
    )


# --- shapes -----------------------------------------------------------------------------------------------


class _Pen:
    """Writes lines: names blocks, and knows how many tokens they are."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._names = itertools.count()

    def blocks(self, tokens: float) -> list[int]:
        """New blocks for a text of about so many tokens, at least one."""
        return [next(self._names) for _ in range(max(1, round(tokens / TRACE_BLOCK_TOKENS)))]

    def line(self, at_s: float, blocks: list[int], output_tokens: float) -> Line:
        """A request for these blocks, the last one partial."""
        missing = self.rng.randrange(TRACE_BLOCK_TOKENS - 1)
        return Line(
            timestamp=1000 * at_s,
            input_length=len(blocks) * TRACE_BLOCK_TOKENS - missing,
            output_length=max(1, round(output_tokens)),
            hash_ids=blocks,
        )

    def about(self, mean: float) -> float:
        """Most are smaller, some many times as large."""
        return mean * self.rng.lognormvariate(-0.5, 1.0)


def _poisson(rng: random.Random, per_s: float) -> Iterator[float]:
    at_s = 0.0
    while True:
        at_s += rng.expovariate(per_s)
        yield at_s


def _mixed(rng: random.Random) -> Iterator[Line]:
    """Conversations over a few system prompts, documents asked about several times, and one-offs."""
    pen = _Pen(rng)
    systems = [pen.blocks(tokens) for tokens in (1000, 2000, 4000, 6000, 12_000)]
    for at_s in _poisson(rng, 1.1):
        kind = rng.random()
        if kind < 0.5:
            yield from _conversation(pen, at_s, rng.choice(systems), turns=1 + int(rng.expovariate(0.25)))
        elif kind < 0.7:
            document = pen.blocks(pen.about(30_000))
            for question in range(rng.randint(1, 4)):
                yield pen.line(at_s + 30 * question, document + pen.blocks(500), pen.about(250))
        else:
            yield pen.line(at_s, pen.blocks(pen.about(9000)), pen.about(300))


def _conversation(pen: _Pen, begin_s: float, head: list[int], turns: int) -> Iterator[Line]:
    at_s, said = begin_s, list(head)
    for _ in range(turns):
        output_tokens = pen.about(300)
        said = said + pen.blocks(pen.about(1500))
        yield pen.line(at_s, said, output_tokens)
        said = said[:-1] + pen.blocks(TRACE_BLOCK_TOKENS + output_tokens)
        at_s += 10 + output_tokens * 0.02 + pen.rng.expovariate(1 / 20)


def _decode(rng: random.Random) -> Iterator[Line]:
    """Short questions over a system prompt, answers of thousands of tokens."""
    pen = _Pen(rng)
    systems = [pen.blocks(1500) for _ in range(4)]
    for at_s in _poisson(rng, 22.0):
        yield pen.line(at_s, rng.choice(systems) + pen.blocks(pen.about(1000)), pen.about(2500))


def _bursts(rng: random.Random) -> Iterator[Line]:
    """Silence, then a crowd that asks about a few shared documents and many of its own."""
    pen = _Pen(rng)
    for at_s in _poisson(rng, 0.05):
        documents = [pen.blocks(pen.about(12_000)) for _ in range(5)]
        for _ in range(rng.randint(60, 180)):
            shared = rng.random() < 0.6
            blocks = rng.choice(documents) + pen.blocks(500) if shared else pen.blocks(pen.about(6000))
            yield pen.line(at_s + rng.random() * 2, blocks, pen.about(200))


def _unshared(rng: random.Random) -> Iterator[Line]:
    """Nobody shares anything; lengths alike."""
    pen = _Pen(rng)
    for at_s in _poisson(rng, 13.0):
        yield pen.line(at_s, pen.blocks(rng.uniform(2000, 14_000)), rng.uniform(50, 400))


def _agents(rng: random.Random) -> Iterator[Line]:
    """Long loops that come back every second or two with a little more, over one big shared prompt each."""
    pen = _Pen(rng)
    systems = [pen.blocks(8000) for _ in range(3)]
    for begin_s in _poisson(rng, 0.35):
        at_s, said = begin_s, rng.choice(systems) + pen.blocks(pen.about(4000))
        for _ in range(rng.randint(5, 60)):
            yield pen.line(at_s, said, pen.about(120))
            said = said + pen.blocks(pen.about(900))
            at_s += 3 + rng.expovariate(1.0)


SHAPES: dict[str, Callable[[random.Random], Iterator[Line]]] = {
    "mixed": _mixed,
    "decode": _decode,
    "bursts": _bursts,
    "unshared": _unshared,
    "agents": _agents,
}
"""Made-up traces by name, endless; the first is the default."""
