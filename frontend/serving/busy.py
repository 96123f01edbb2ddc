"""``/busy_threshold``: when a model's workers count as busy, read and set while running.

The statuses are those Dynamo's frontend was seen to answer with, but for one: a key nobody knows is refused,
where Dynamo takes a misspelt threshold for a question.
"""

from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from epp.core.router import BusyLimits
from frontend.errors import ApiError

_DECODE: Final = "active_decode_blocks_threshold"
_TOKENS: Final = "active_prefill_tokens_threshold"
_FRACTION: Final = "active_prefill_tokens_threshold_frac"
_FIELDS: Final = {
    _DECODE: "active_decode_fraction",
    _TOKENS: "active_prefill_tokens",
    _FRACTION: "active_prefill_fraction",
}
_MAX_TOKENS: Final = 2**63 - 1


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    active_decode_blocks_threshold: float | msgspec.UnsetType | None = msgspec.UNSET
    active_prefill_tokens_threshold: int | msgspec.UnsetType | None = msgspec.UNSET
    active_prefill_tokens_threshold_frac: float | msgspec.UnsetType | None = msgspec.UNSET


_CHANGE: Final = msgspec.json.Decoder(_Change)


class BusyThresholds:
    """Reads and writes the limits the router asks for at every choice."""

    def __init__(
        self,
        limits: MutableMapping[str, BusyLimits],
        configured: BusyLimits,
        *,
        models: Callable[[], Iterable[str]],
        served: Callable[[str], bool],
    ) -> None:
        """``limits``: by model, in place of ``configured``; ``models``: those to list."""
        self._limits = limits
        self._configured = configured
        self._models = models
        self._served = served

    def listing(self) -> dict[str, Any]:
        """Every model known, and every one that has limits of its own."""
        names = sorted({*self._models(), *self._limits})
        return {"thresholds": [self._of(name) for name in names]}

    def change(self, raw: bytes) -> dict[str, Any]:
        """Set what a body gives (``null`` ends a limit) and tell what holds then; a body with a model alone
        asks. Raises ApiError: 400 out of range or no JSON, 404 unknown model, 422 another form."""
        wanted = _decoded(raw)
        given = {
            field: value
            for name, field in _FIELDS.items()
            if (value := getattr(wanted, name)) is not msgspec.UNSET
        }
        if not given:
            if not self._served(wanted.model) and wanted.model not in self._limits:
                return _page(wanted.model, BusyLimits())
            return self._of(wanted.model)
        _check(wanted)
        if not self._served(wanted.model):
            raise ApiError(
                404,
                f"Model '{wanted.model[:256]}' not found. Thresholds can only be set for discovered models.",
            )
        self._limits[wanted.model] = replace(self._limits.get(wanted.model, self._configured), **given)
        return self._of(wanted.model)

    def _of(self, model: str) -> dict[str, Any]:
        return _page(model, self._limits.get(model, self._configured))


def _page(model: str, limits: BusyLimits) -> dict[str, Any]:
    return {"model": model, **{name: getattr(limits, field) for name, field in _FIELDS.items()}}


def _decoded(raw: bytes) -> _Change:
    try:
        return _CHANGE.decode(raw)
    except msgspec.ValidationError as error:
        allowed = ", ".join(("model", *_FIELDS))
        hint = f" (allowed: {allowed})" if "unknown field" in str(error) else ""
        raise ApiError(
            422, f"Failed to deserialize the JSON body into the target type: {error}{hint}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"Failed to parse the request body as JSON: {error}") from error


def _check(wanted: _Change) -> None:
    decode, tokens = wanted.active_decode_blocks_threshold, wanted.active_prefill_tokens_threshold
    fraction = wanted.active_prefill_tokens_threshold_frac
    if isinstance(decode, float) and not 0 <= decode <= 1:
        raise ApiError(400, f"{_DECODE} must be between 0.0 and 1.0, got {decode:g}")
    if isinstance(tokens, int) and not 0 <= tokens <= _MAX_TOKENS:
        raise ApiError(400, f"{_TOKENS} must be between 0 and {_MAX_TOKENS}, got {tokens}")
    if isinstance(fraction, float) and not 0 <= fraction < float("inf"):
        raise ApiError(400, f"{_FRACTION} must be at least 0.0, got {fraction:g}")
