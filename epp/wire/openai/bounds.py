"""What one request may hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec

from epp.core.errors import BadRequestError

U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1

TokenId: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
"""A vocabulary index; engines use at most 32 bits."""
I64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number that engines read as a signed 64-bit integer."""
OutputLimit: TypeAlias = I64 | float | None
"""A bound on generated tokens; engines take ``100.0`` for 100, and refuse fractions themselves."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds on what one request may hold; the size of its body is bounded by the door."""

    max_messages: int = 65_536
    """Messages of a conversation. Each costs a few microseconds of conversion and templating on the
    event loop; the longest agent transcripts hold some thousands."""
    max_tools: int = 4_096
    """Tools of a request, for the same reason; engines advise tens."""
    max_prompts: int = 65_536
    """Prompts of a batch. Only the first decides the route, the rest is carried along."""


DEFAULT_LIMITS: Final = RequestLimits()


def bounded(items: Sequence[object], limit: int, field: str) -> None:
    """Refuse a list longer than its limit."""
    if len(items) > limit:
        raise BadRequestError(f"Field `{field}` holds {len(items)} entries, more than the {limit} allowed.")
