"""YAML of strangers as plain values, within bounds."""

from typing import Any

import yaml

_SHOWN_CHARS = 200


def read_yaml(data: bytes, *, max_depth: int) -> Any:
    """The document; raises ValueError, whose text is one short line, for anything else and for nesting
    deeper than ``max_depth`` levels."""
    try:
        _check_depth(data, max_depth)
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())[:_SHOWN_CHARS]) from error


def _check_depth(data: bytes, max_depth: int) -> None:
    """The C loader builds nested nodes by recursion and overflows the stack where Python would raise."""
    depth = 0
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > max_depth:
            raise ValueError(f"nested deeper than {max_depth} levels")
