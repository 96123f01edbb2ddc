"""What the core needs of a tokenizer: prompt in, flat token ids out, and an honest word on how exact."""

from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from epp.core.requests import Prompt


class Exactness(StrEnum):
    """How the token ids relate to what the engine will compute."""

    EXACT = "exact"
    PARTIAL = "partial"
    """Exact up to the first part that cannot be matched (an image); the rest is left out."""
    ESTIMATED = "estimated"
    """No tokenizer: pseudo-tokens of a few bytes each, comparable only with each other."""
    NONE = "none"
    """No tokens at all; the pick goes by load."""


_OF_A_VOCABULARY: Final = frozenset({Exactness.EXACT, Exactness.PARTIAL})


class Tokenized(Struct, frozen=True):
    """A prompt as token ids."""

    tokens: bytes
    """Flat little-endian u32."""
    exactness: Exactness
    prompt_tokens: int
    """Length of the prompt in tokens, counting parts left out as well as they are known."""
    degraded: str | None = None
    """Why not EXACT, as one lower-case hyphenated word for headers, metrics and logs; None: exact."""

    @property
    def are_ids(self) -> bool:
        """The tokens are ids of the model's vocabulary, as far as they go, and may be shown as such."""
        return self.exactness in _OF_A_VOCABULARY


class Tokenizer(Protocol):
    """Turns prompts into tokens; never raises for a prompt it cannot handle, never blocks the loop."""

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        """Token ids of ``prompt`` as the engine serving ``model`` computes them."""
        ...
