"""Tables of settings: rows that bind the fields of a record to flags, variables and kinds of values.

A table serves one program. Everything that reads a configuration — command line, environment, file,
reference page — is a loop over its rows; :mod:`epp.config.settings` holds the picker's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from epp.config.foreign import ForeignFlag
from epp.config.kinds import TEXT, Kind, many
from epp.config.model import ModelConfig

C = TypeVar("C")
"""The record that holds a whole configuration."""
MAX_LISTED = 64
"""Items of one list."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row."""

    path: str
    """The field: names of records and of the field, separated by dots."""
    kind: Kind
    flag: str
    """Without dashes; empty: no flag."""
    env: tuple[str, ...] = ()
    """Variables; the first that is set counts."""
    env_kind: Kind | None = None
    """Where a variable's text means something else than the flag's (milliseconds)."""
    in_file: bool = True
    short: str = ""
    """One letter for the flag."""
    former: tuple[str, ...] = ()
    """Names the flag once had: taken, with a warning."""
    about: str = ""
    """The help text, where the field's docstring is not it."""

    @property
    def section(self) -> str:
        """Path of the record that holds the field."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """How messages call it when nobody named it: the flag, else the path."""
        return f"--{self.flag}" if self.flag else self.path


MODEL_PATHS = Setting(
    "model_path",
    many(TEXT, MAX_LISTED),
    "model-path",
    ("DYN_MODEL_PATH",),
    in_file=False,
    about="Folder with tokenizer.json, or a hub name, of a model tokenized here; repeatable.",
)
MODEL_NAMES = Setting(
    "model_name",
    many(TEXT, MAX_LISTED),
    "model-name",
    ("DYN_MODEL_NAME",),
    in_file=False,
    about="Name clients use for the model path given at the same place; repeatable.",
)
"""Together they replace ``tokenize.models``; they are no fields of their own."""


@dataclass(frozen=True)
class Table(Generic[C]):
    """Every setting of one program."""

    default: C
    """The configuration when nothing is given."""
    settings: tuple[Setting, ...]
    """In the order of the reference page."""
    modules: tuple[ModuleType, ...]
    """Where the records are written, for their docstrings."""
    foreign_flags: tuple[ForeignFlag, ...] = ()
    foreign_variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variable without effect → what happens instead."""
    engine: str = ""
    """Prefix of the picker's own records among the paths (``picker.``)."""
    served: str = ""
    """The field that takes model names given without a path; empty: they are refused."""
    policy: str = "routing.policy"
    """The field that an EndpointPickerConfig sets to ``scorers``."""

    @cached_property
    def by_path(self) -> Mapping[str, Setting]:
        """Path → row."""
        return {setting.path: setting for setting in self.settings}

    @cached_property
    def defaults(self) -> Mapping[str, object]:
        """Path of every field → its default."""
        return dict(field_paths(self.default))

    @property
    def plugins(self) -> str:
        """Path of the EndpointPickerConfig, which is no setting."""
        return f"{self.engine}picker"

    @property
    def models(self) -> str:
        """Path of the models tokenized here, which a file lists."""
        return f"{self.engine}tokenize.models"

    def said(self, path: str, value: object) -> str:
        """A setting with a value, as messages say it."""
        return f"{self.by_path[path].name}={shown_value(value)}"


def field_paths(record: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every field of a record with its value, nested records and mappings opened."""
    for name, value in children(record):
        if is_nested(value):
            yield from field_paths(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def is_nested(value: object) -> bool:
    """Whether a field holds fields: a record or a mapping."""
    return isinstance(value, Mapping) or (is_dataclass(value) and not isinstance(value, type))


def children(record: object) -> Iterator[tuple[str, Any]]:
    """Name and value of each field."""
    if isinstance(record, Mapping):
        yield from cast("Mapping[str, Any]", record).items()
        return
    assert is_dataclass(record)
    assert not isinstance(record, type)
    for entry in fields(record):
        yield entry.name, getattr(record, entry.name)


def value_at(config: object, path: str) -> object:
    """The value of the field at ``path``."""
    value = config
    for name in path.split("."):
        value = _child(value, name)
    return value


def _child(value: object, name: str) -> object:
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value)[name]
    return getattr(value, name)


def shown_value(value: object) -> str:
    """A value as one would write it on a command line."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, ModelConfig):
        return value.path if value.name == value.path else f"{value.name}={value.path}"
    if isinstance(value, tuple):
        return ",".join(shown_value(item) for item in cast("tuple[object, ...]", value))
    return str(value)
