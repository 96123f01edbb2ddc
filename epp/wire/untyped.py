"""Narrowing of decoded foreign data, whose types nobody has promised."""

from collections.abc import Mapping
from typing import Any, cast


def as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """``value`` if it is a mapping."""
    return cast("Mapping[Any, Any]", value) if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any] | None:
    """``value`` as a list if it is one, or a tuple."""
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else None
