"""Answers: text that is the same for the same seed and prompt, with known token ids.

A real engine produces tokens and shows their text; the next turn of a chat brings that text back. To make
those tokens match, answers are cut from one long run of common words tokenized once: word boundaries are
token boundaries in every byte-level BPE, so the text tokenizes back to the ids it came from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import xxhash

from epp.testing.engine.ids import TokenIds, ids
from epp.testing.words import COMMON_WORDS

_OPENINGS = ("The", "In", "This", "It", "We", "There", "For", "When")
_BANK_WORDS = 4096
_SHORTEST, _LONGEST = 12, 160


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine will say: token ids, and why it ends."""

    tokens: TokenIds
    finish_reason: str


class AnswerBook:
    """All the answers of one seed. ``encode`` maps text to ids without special tokens."""

    def __init__(self, encode: Callable[[str], TokenIds], seed: int) -> None:
        random = Random(seed)
        self._seed = seed
        words = [random.choice(COMMON_WORDS) for _ in range(_BANK_WORDS)]
        pieces = [encode(" " + word) for word in words]
        self._bank = ids(token for piece in pieces for token in piece)
        starts = ids()
        position = 0
        for piece in pieces:
            starts.append(position)
            position += len(piece)
        self._starts = starts
        self._openings = [encode(opening) for opening in _OPENINGS]

    def answer(
        self, prompt: TokenIds, max_tokens: int, *, ignore_eos: bool = False, least: int = 0
    ) -> Answer:
        """The answer to ``prompt``, at most ``max_tokens`` and (if the bound allows) at least ``least``
        tokens long; ``ignore_eos`` makes it exactly ``max_tokens``."""
        draw = Random(xxhash.xxh3_64_intdigest(prompt.tobytes(), seed=self._seed))
        natural = max(least, draw.randint(_SHORTEST, _LONGEST))
        wanted = max_tokens if ignore_eos else min(max_tokens, natural)
        tokens = ids(draw.choice(self._openings))
        start = self._starts[draw.randrange(len(self._starts))]
        while len(tokens) < wanted:
            tokens += self._bank[start : start + wanted - len(tokens)]
            start = 0
        stopped = wanted < max_tokens or (natural == max_tokens and not ignore_eos)
        return Answer(tokens[:wanted], "stop" if stopped else "length")
