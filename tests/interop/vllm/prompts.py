"""Prompts as token ids: random, so that nothing is shared unless a test shares it."""

import random

from .server import BLOCK_TOKENS


def tokens(seed: object, count: int) -> list[int]:
    """``count`` ids that the same ``seed`` gives again."""
    chooser = random.Random(str(seed))
    return [chooser.randrange(1_000, 100_000) for _ in range(count)]


def blocks(seed: object, count: int, tail: int = 5) -> list[int]:
    """``count`` full blocks and a ``tail`` that fills none."""
    return tokens(seed, count * BLOCK_TOKENS + tail)
