"""A whole configuration written down: every setting with its value and where it came from."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import orjson

from epp.config.table import value_at
from frontend.config.load import Loaded
from frontend.config.settings import TABLE


def dump(loaded: Loaded) -> bytes:
    """The resolved configuration as JSON: ``settings`` by path, and ``warnings``."""
    settings = {
        path: {
            "value": plain(value_at(loaded.config, path)),
            "source": str(source),
            "origin": source.origin.value,
        }
        for path, source in loaded.sources.items()
        if path in TABLE.by_path
    }
    report = {"settings": settings, "warnings": list(loaded.warnings)}
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def plain(value: object) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, tuple):
        return [plain(item) for item in cast("tuple[object, ...]", value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    return value
