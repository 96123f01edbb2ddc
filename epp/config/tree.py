"""Configuration text to a plain tree, and reading that tree with paths.

YAML is a large language; a configuration needs JSON's part of it. :func:`read_document` accepts text or
bytes and returns mappings, lists, text, numbers, booleans and null, nothing else: dates, binary, duplicate
keys, merge keys, cycles and alias bombs are refused with the path where they stand. :class:`Fields` then
reads one mapping, remembers which keys were asked for, and refuses the rest by name.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

import yaml

from epp.config.errors import ConfigError
from epp.config.kinds import Kind, show

Tree: TypeAlias = "bool | int | float | str | list[Tree] | dict[str, Tree] | None"

MAX_DOCUMENT_BYTES = 1 << 20
"""A configuration is kept in a ConfigMap, which holds at most 1 MiB."""
_MAX_NODES = 50_000
"""After aliases are expanded: what a hundred aliases of a hundred aliases would exceed."""
_MAX_DEPTH = 40


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys, which YAML forbids and PyYAML lets pass, and merge keys, which multiply."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[str] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            raise _refuse_key("merge keys (<<) are not read", key)
        if isinstance(key.value, str):
            if key.value in keys:
                raise _refuse_key(f"the key {show(key.value)} stands twice", key)
            keys.add(key.value)
    return loader.construct_mapping(node, deep=True)


def _refuse_key(problem: str, key: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, key.start_mark)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_document(data: str | bytes, where: str) -> Tree:
    """The tree of a YAML or JSON document; raises ConfigError naming ``where``."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{where} is larger than {MAX_DOCUMENT_BYTES} bytes.")
    try:
        text = data if isinstance(data, str) else data.decode()
        document = yaml.load(text, _Loader)  # noqa: S506 -- a SafeLoader
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not UTF-8 text (byte {error.start}).") from error
    except RecursionError as error:
        raise ConfigError(f"{where} is nested too deeply.") from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {_said_by_yaml(error)}.") from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        # PyYAML lets errors of its constructors through: int("0b"), datetime.date(2001, 99, 1), ...
        raise ConfigError(f"{where} is not valid YAML: {show(str(error))}.") from error
    return _Plain(where).copy(document, "", 0)


def _said_by_yaml(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    problem = " ".join((error.problem or error.context or "syntax error").split())
    return problem if mark is None else f"{problem} (line {mark.line + 1}, column {mark.column + 1})"


class _Plain:
    """Copies what YAML made into a plain tree, counting nodes."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._nodes = 0

    def copy(self, value: object, path: str, depth: int) -> Tree:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise ConfigError(f"{self._where} is nested too deeply or repeats itself without end.")
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, list):
            items = enumerate(cast("list[object]", value))
            return [self.copy(item, f"{path}[{i}]", depth + 1) for i, item in items]
        if isinstance(value, dict):
            return dict(self._pairs(cast("dict[object, object]", value), path, depth))
        raise ConfigError(f"{path or 'the document'} in {self._where} is not plain data: {show(value)}.")

    def _pairs(self, value: Mapping[object, object], path: str, depth: int) -> Iterator[tuple[str, Tree]]:
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{path or 'the document'} in {self._where} has a key that is not text.")
            yield key, self.copy(item, join(path, key), depth + 1)


def join(path: str, key: str) -> str:
    """The path of a key below ``path``."""
    return f"{path}.{key}" if path else key


class Fields:
    """Reads one mapping strictly; every method raises ConfigError with the path of what is wrong."""

    def __init__(self, tree: object, path: str, where: str) -> None:
        if not isinstance(tree, Mapping):
            raise ConfigError(f"{path or 'the document'} in {where} must be a mapping, not {show(tree)}.")
        self.tree: Mapping[str, Any] = tree
        """The mapping as it stands."""
        self._path = path
        self._where = where
        self._known: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        """Whether a key is given and not null; asking makes it known."""
        return self.raw(key) is not None

    def at(self, key: str) -> str:
        """``key`` as messages name it."""
        return f"{join(self._path, key)} in {self._where}"

    def error(self, key: str, problem: str) -> ConfigError:
        """An error about one key; ``problem`` completes "KEY ..."."""
        return ConfigError(f"{self.at(key)} {problem}.")

    def raw(self, key: str) -> Any:
        """The value of a key as it stands; None when absent or null."""
        self._known[key] = None
        return self.tree.get(key)

    def scalar(self, key: str, kind: Kind, default: Any = None) -> Any:
        """A scalar of a kind; ``default`` when absent or null."""
        value = self.raw(key)
        if value is None:
            return default
        try:
            return kind.read_scalar(value)
        except ValueError as error:
            raise self.error(key, str(error)) from error

    def required(self, key: str, kind: Kind) -> Any:
        """A scalar that must be given."""
        value = self.scalar(key, kind)
        if value is None:
            raise self.error(key, "is missing")
        return value

    def scalars(self, key: str, kind: Kind) -> tuple[Any, ...]:
        """A list of scalars; empty when absent."""
        try:
            return tuple(kind.read_scalar(item) for item in self._list(key))
        except ValueError as error:
            raise self.error(key, str(error)) from error

    def fields(self, key: str) -> "Fields":
        """A mapping below; an empty one when absent."""
        value = self.raw(key)
        return Fields({} if value is None else value, join(self._path, key), self._where)

    def each(self, key: str) -> "tuple[Fields, ...]":
        """A list of mappings; empty when absent."""
        path = join(self._path, key)
        return tuple(Fields(item, f"{path}[{i}]", self._where) for i, item in enumerate(self._list(key)))

    def mapping(self, key: str, kind: Kind) -> dict[str, Any]:
        """A mapping of text to scalars; empty when absent."""
        below = self.fields(key)
        return {name: below.required(name, kind) for name in below.tree}

    def ignore(self, *keys: str) -> None:
        """Accept keys whose values have no effect."""
        self._known.update(dict.fromkeys(keys))

    def end(self) -> None:
        """Refuse the keys nobody asked for."""
        unknown = [key for key in self.tree if key not in self._known]
        if unknown:
            known = ", ".join(sorted(self._known)) or "nothing"
            raise self.error(unknown[0], f"is not known here; known: {known}")

    def _list(self, key: str) -> list[object]:
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, not {show(value)}")
        return cast("list[object]", value)
