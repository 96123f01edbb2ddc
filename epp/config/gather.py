"""One configuration from four places: command line beats environment beats file beats default.

For every setting of a table, without exception, and each remembers where it came from. Reading is pure: the
arguments, the environment and a way to read a file are given. Whatever is wrong ends as one
:class:`~epp.config.errors.ConfigError` whose text says what, where, and what would be right.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic

from epp.config.errors import ConfigError
from epp.config.filevalues import FileValues, read_file_values
from epp.config.flags import Given, read_flags
from epp.config.foreign import ForeignFlag
from epp.config.kinds import show
from epp.config.models import choose_models
from epp.config.sources import DEFAULT, Origin, Source
from epp.config.table import MAX_LISTED, MODEL_NAMES, MODEL_PATHS, C, Setting, Table, children, is_nested

ReadFile = Callable[[str], bytes]
"""Reads a whole file; raises OSError."""
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C]):
    """A configuration, and how it came to be."""

    config: C
    sources: Mapping[str, Source]
    """Path of every setting → where its value came from."""
    warnings: tuple[str, ...]
    """Sentences to log: what was accepted and has no effect."""


class Gathered:
    """Values and sources by path, while they are collected, and every problem met."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, Source] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def take(self, setting: Setting, texts: Sequence[str], source: Source, *, environment: bool) -> None:
        """Set a value from text, unless it does not parse."""
        kind = (setting.env_kind or setting.kind) if environment else setting.kind
        try:
            value: Any = _parse_all(kind.parse, texts) if kind.repeats else kind.parse(texts[-1])
        except ValueError as error:
            self.problems.append(f"{source} {error}.")
            return
        self.put(setting.path, value, source)

    def put(self, path: str, value: object, source: Source) -> None:
        """Set a value."""
        self.values[path] = value
        self.sources[path] = source

    def source(self, path: str) -> Source:
        """Where the value at ``path`` came from."""
        return self.sources.get(path, DEFAULT)


def _parse_all(parse: Callable[[str], Any], texts: Sequence[str]) -> tuple[Any, ...]:
    items = tuple(item for text in texts for item in parse(text))
    if len(items) > MAX_LISTED:
        raise ValueError(f"has more than {MAX_LISTED} items")
    return items


def gather(
    table: Table[C], argv: Sequence[str], environ: Mapping[str, str], read_file: ReadFile
) -> tuple[C, Gathered]:
    """The configuration as given, not yet checked, and what was met on the way; ``argv`` holds flags only.

    Raises ConfigError for a command line that cannot be read; everything else is among the problems.
    """
    given = read_flags(argv, table)
    gathered = Gathered()
    _warn_of_foreign(table, given, environ, gathered)
    _take_environment(table, environ, gathered)
    _take_flags(table, given, gathered)
    document = _read_document(table, gathered, read_file)
    for path, (value, source) in document.values.items():
        if path not in gathered.values:
            gathered.put(path, value, source)
    _take_served(table, gathered)
    _take_models(table, gathered)
    if document.picker is not None:
        gathered.values[table.plugins] = document.picker
    return _assemble(table.default, "", gathered.values), gathered


def finish(
    table: Table[C], config: C, gathered: Gathered, problems: Sequence[str], remarks: Sequence[str]
) -> Loaded[C]:
    """The checked configuration; raises ConfigError with every problem that is known by now."""
    if gathered.problems or problems:
        raise ConfigError(*(gathered.problems or problems))
    sources = {path: gathered.source(path) for path in table.defaults if path != table.plugins}
    return Loaded(config, sources, (*gathered.warnings, *remarks))


def _warn_of_foreign(table: Table[C], given: Given, environ: Mapping[str, str], gathered: Gathered) -> None:
    by_name = {flag.name: flag for flag in table.foreign_flags}
    for name, text in given.foreign:
        _judge(by_name[name], text, f"--{name}", gathered)
    for flag in table.foreign_flags:
        if flag.env and environ.get(flag.env):
            _judge(flag, environ[flag.env], flag.env, gathered)
    for name, instead in table.foreign_variables.items():
        if environ.get(name):
            gathered.warnings.append(f"{name} in the environment has no effect: {instead}.")


def _judge(flag: ForeignFlag, text: str, name: str, gathered: Gathered) -> None:
    if not flag.accepts(text):
        gathered.problems.append(f"{name}={text} is not supported: {flag.instead}.")
    elif flag.warns(text):
        gathered.warnings.append(f"{name} is accepted and has no effect: {flag.instead}.")


def _take_environment(table: Table[C], environ: Mapping[str, str], gathered: Gathered) -> None:
    for setting in table.settings:
        name = next((name for name in setting.env if environ.get(name)), None)
        if name is None:
            continue
        text = environ[name]
        if name.endswith("_PORT") and _SERVICE_LINK.match(text):
            # Kubernetes gives every container NAME_PORT=tcp://... for each Service called "name".
            gathered.warnings.append(f"{name}={show(text)} in the environment is a Service link; ignored.")
            continue
        gathered.take(setting, (text,), Source(Origin.ENVIRONMENT, name), environment=True)


def _take_flags(table: Table[C], given: Given, gathered: Gathered) -> None:
    for setting in table.settings:
        texts = given.texts.get(setting.path)
        if not texts:
            continue
        spelled = given.spelled[setting.path]
        if spelled.removeprefix("--").removeprefix("no-") in setting.former:
            gathered.warnings.append(f"{spelled} is the former name of {setting.name}.")
        gathered.take(setting, texts, Source(Origin.COMMAND_LINE, spelled), environment=False)


def _read_document(table: Table[C], gathered: Gathered, read_file: ReadFile) -> FileValues:
    at_path, at_text = f"{table.engine}config_file", f"{table.engine}config_text"
    path, text = gathered.values.get(at_path), gathered.values.get(at_text)
    file_source, text_source = gathered.sources.get(at_path), gathered.sources.get(at_text)
    if path is not None and text is not None:
        gathered.problems.append(f"{file_source} and {text_source} cannot both be given.")
        return FileValues()
    try:
        if text is not None:
            return read_file_values(table, text, f"the text of {text_source}")
        if path is not None:
            return read_file_values(table, _read(path, file_source, read_file), path)
    except ConfigError as error:
        gathered.problems.extend(error.problems)
    return FileValues()


def _read(path: str, source: Source | None, read_file: ReadFile) -> bytes:
    try:
        return read_file(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}, named by {source}, cannot be read: {reason}.") from error


def _take_served(table: Table[C], gathered: Gathered) -> None:
    """Names without paths, where a program serves models that it does not tokenize."""
    values, sources = gathered.values, gathered.sources
    if table.served and MODEL_PATHS.path not in values and not values.get(table.models):
        names = values.pop(MODEL_NAMES.path, ())
        if names:
            gathered.put(table.served, names, sources[MODEL_NAMES.path])


def _take_models(table: Table[C], gathered: Gathered) -> None:
    values, sources = gathered.values, gathered.sources
    try:
        models = choose_models(
            paths=values.pop(MODEL_PATHS.path, ()),
            names=values.pop(MODEL_NAMES.path, ()),
            listed=values.get(table.models, ()),
            sources=sources,
            listed_in=sources.get(table.models),
        )
    except ConfigError as error:
        gathered.problems.extend(error.problems)
        return
    values[table.models] = models
    given = sources.get(MODEL_PATHS.path) or sources.get(MODEL_NAMES.path)
    if given is not None:
        sources[table.models] = given


def _assemble(record: Any, prefix: str, values: Mapping[str, Any]) -> Any:
    """The record with the given values in place of its defaults, nested records and mappings too."""
    changed: dict[str, Any] = {}
    for name, value in children(record):
        path = prefix + name
        if path in values:
            changed[name] = values[path]
        else:
            changed[name] = _assemble(value, f"{path}.", values) if is_nested(value) else value
    return MappingProxyType(changed) if isinstance(record, Mapping) else type(record)(**changed)
