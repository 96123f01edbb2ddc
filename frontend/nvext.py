"""``nvext`` as the frontend reads it: the routing part shared with the picker, and what shapes answers.

Strict: an unknown key is a 400 that lists the allowed ones (see :mod:`epp.wire.openai.nvext`).
"""

from dataclasses import dataclass
from typing import Final

from epp.core.requests import NvExt

_NOTHING: Final = NvExt()


@dataclass(frozen=True, slots=True)
class NvExtRequest:
    """One request's ``nvext``."""

    routing: NvExt = _NOTHING
    """Pins, tokens, taints, hints, annotations."""
    extra_fields: frozenset[str] = frozenset()
    """Response fields asked for: ``worker_id``, ``timing``, ``completion_token_ids``, ``stop_reason``, …"""
    present: bool = False
    """The body has an ``nvext``."""
    greedy: bool = False
    """``greed_sampling``."""
    max_thinking_tokens: int | None = None
