"""Answers: text that is the same for the same seed and prompt, with known token ids.

A real engine produces tokens and shows their text; the next turn of a chat brings that text back. To make
those tokens match, answers are cut from one long run of common words tokenized once: word boundaries are
token boundaries in every byte-level BPE, so the text tokenizes back to the ids it came from.
"""

from collections.abc import Callable
from dataclasses import dataclass

import xxhash

from epp.testing.engine.ids import TokenIds, ids
from epp.testing.words import COMMON_WORDS

_OPENINGS = ("The", "In", "This", "It", "We", "There", "For", "When")
_MEAN_WORDS = 86
"""Of an answer that nothing bounds; its length is geometrically distributed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine will say: token ids, and why it ends."""

    tokens: TokenIds
    finish_reason: str


class AnswerBook:
    """All the answers of one seed. ``encode`` maps text to ids without special tokens."""

    def __init__(self, encode: Callable[[str], TokenIds], seed: int) -> None:
        self._seed = seed
        self._words = _best([encode(" " + word) for word in COMMON_WORDS])
        self._openings = _best([encode(opening) for opening in _OPENINGS])
        self._spoken = frozenset(piece[-1] for piece in (*self._words, *self._openings))

    def answer(
        self, prompt: TokenIds, max_tokens: int, *, ignore_eos: bool = False, least: int = 0
    ) -> Answer:
        """The answer to ``prompt``, at most ``max_tokens`` and (if the bound allows) at least ``least``
        tokens long; ``ignore_eos`` makes it exactly ``max_tokens``."""
        state = xxhash.xxh3_64(prompt.tobytes(), seed=self._seed)
        begun = bool(prompt) and prompt[-1] in self._spoken
        tokens = ids()
        while len(tokens) < max_tokens:
            draw = state.intdigest()
            if _ends(draw) and tokens and len(tokens) >= least and not ignore_eos:
                return Answer(tokens, "stop")
            choices = self._words if tokens or begun else self._openings
            piece = choices[(draw >> 16) % len(choices)]
            tokens += piece
            state.update(piece.tobytes())
        natural = len(tokens) == max_tokens and len(tokens) >= least and _ends(state.intdigest())
        return Answer(tokens[:max_tokens], "stop" if natural and not ignore_eos else "length")


def _ends(draw: int) -> bool:
    return draw % _MEAN_WORDS == 0


def _best(pieces: list[TokenIds]) -> list[TokenIds]:
    """Those that are one token, if they are enough to speak with; else all."""
    single = [piece for piece in pieces if len(piece) == 1]
    return single if len(single) * 4 >= len(pieces) else pieces
