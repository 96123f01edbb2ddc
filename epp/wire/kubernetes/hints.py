"""Labels and annotations that say what kind of worker a pod is, and the reading of their values."""

from collections.abc import Mapping
from typing import Final, TypeVar

from epp.core.endpoints import EngineKind, Role

OURS: Final = "epp/"
"""Prefix of our own names."""
ACTIVE_PORTS: Final = (
    "epp/active-ports",
    "inference.networking.k8s.io/active-ports",
    "llm-d.ai/active-ports",
)
_STRICT_ROLES: Final = ("epp/role", "llm-d.ai/role")
_DYNAMO_ROLES: Final = (
    "nvidia.com/dynamo-sub-component-type",
    "nvidia.com/dynamo-component-type",
    "dynamo-role",
)
_ENGINES: Final = ("epp/engine", "llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type")
NAMESPACE: Final = "nvidia.com/dynamo-namespace"
"""Dynamo's name for a group of workers, narrower than Kubernetes' namespace."""
_KNOWN: Final = frozenset({NAMESPACE, *ACTIVE_PORTS, *_STRICT_ROLES, *_DYNAMO_ROLES, *_ENGINES})

ENGINES: Final = {
    **{kind.value: kind for kind in EngineKind},
    "tensorrt-llm": EngineKind.TRTLLM,
    "trtllm-serve": EngineKind.TRTLLM,
    "triton-tensorrt-llm": EngineKind.TRITON_TRTLLM,
}
"""Engine names as people write them."""
_PARTS: Final = {"prefill": Role.PREFILL, "decode": Role.DECODE, "encode": Role.ENCODE}
_MAX_PORT: Final = 65535
_SHOWN: Final = 64

T = TypeVar("T")


def is_hint(key: str) -> bool:
    """Whether a label or annotation of this name is read."""
    return key in _KNOWN or key.startswith(OURS)


class Hints:
    """One pod's labels and annotations; what cannot be used of them becomes a problem."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []
        """One sentence for every value that could not be used."""

    def first(self, keys: tuple[str, ...]) -> tuple[str, str] | None:
        """The first of these names that is there, with its value."""
        return next(((key, self._values[key]) for key in keys if key in self._values), None)

    def number(self, key: str, low: int, high: int) -> int | None:
        """A whole number within bounds; None: not there, or not usable."""
        text = self._values.get(key)
        if text is None:
            return None
        if text.isascii() and text.isdecimal() and len(text) <= len(str(high)) and low <= int(text) <= high:
            return int(text)
        self._wrong(key, text, f"must be a number from {low} to {high}")
        return None

    def port(self, key: str, default: int | None, count: int) -> int | None:
        """The first of ``count`` ports in a row; ``default`` may be given elsewhere."""
        if key in self._values:
            return self.number(key, 1, _MAX_PORT + 1 - count)
        if default is not None and default + count - 1 > _MAX_PORT:
            self.problems.append(f"{count} ports from {default} on go beyond {_MAX_PORT}")
            return None
        return default

    def choice(self, key: str, choices: Mapping[str, T]) -> T | None:
        """One of a few words; None: not there, or another word."""
        text = self._values.get(key)
        if text is not None and text not in choices:
            self._wrong(key, text, f"must be one of {', '.join(choices)}")
        return None if text is None else choices.get(text)

    def path(self, key: str, default: str) -> str:
        """A path in a URL."""
        text = self._values.get(key, default)
        if text.startswith("/") and text.isascii() and text.isprintable() and " " not in text:
            return text
        self._wrong(key, text, "must be a path that begins with /")
        return default

    def _wrong(self, key: str, text: str, rule: str) -> None:
        self.problems.append(f"{key} {rule}, not {text[:_SHOWN]!r}")


def role_of(hints: Hints) -> Role:
    """The role: ours or llm-d's (words joined by dashes, ``both``), else what Dynamo calls the component."""
    named = hints.first(_STRICT_ROLES)
    if named is not None:
        key, text = named
        role = _role(text)
        if role is None:
            hints.problems.append(f"{key} is no role: {text[:_SHOWN]!r}")
        return role or Role.AGGREGATED
    for name in _DYNAMO_ROLES:
        found = hints.first((name,))
        if found is not None and found[1] in _PARTS:
            return _PARTS[found[1]]
    return Role.AGGREGATED


def engine_of(hints: Hints) -> EngineKind:
    """The engine; vLLM where nothing, or nothing usable, is said."""
    named = hints.first(_ENGINES)
    if named is None:
        return EngineKind.VLLM
    return hints.choice(named[0], ENGINES) or EngineKind.VLLM


def _role(text: str) -> Role | None:
    """``encode-prefill`` prefills, with its own encoder; what prefills and decodes is aggregated."""
    if text in ("both", Role.AGGREGATED.value):
        return Role.AGGREGATED
    parts = text.split("-")
    if not all(part in _PARTS for part in parts):
        return None
    if "prefill" in parts and "decode" in parts:
        return Role.AGGREGATED
    return next(role for part, role in _PARTS.items() if part in parts)
