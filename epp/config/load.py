"""One configuration from four places: command line beats environment beats file beats default.

For every setting, without exception, and each remembers where it came from. Reading is pure: the
arguments, the environment and a way to read a file are given. Whatever is wrong ends as one
:class:`~epp.config.errors.ConfigError` whose text says what, where, and what would be right.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from epp.config.errors import ConfigError
from epp.config.filevalues import FileValues, read_file_values
from epp.config.flags import Given, read_flags
from epp.config.foreign import FOREIGN_FLAGS, FOREIGN_VARIABLES
from epp.config.kinds import show
from epp.config.model import Config, PickerConfig
from epp.config.models import choose_models
from epp.config.settings import DEFAULTS, MODEL_NAMES, MODEL_PATHS, MODELS, SETTINGS, Setting
from epp.config.sources import DEFAULT, Origin, Source
from epp.config.validate import contradictions, remarks

ReadFile = Callable[[str], bytes]
"""Reads a whole file; raises OSError."""
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
_MAX_LISTED = 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and how it came to be."""

    config: Config
    sources: Mapping[str, Source]
    """Path of every setting → where its value came from."""
    warnings: tuple[str, ...]
    """Sentences to log: what was accepted and has no effect."""


class _Gathering:
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


def _parse_all(parse: Callable[[str], Any], texts: Sequence[str]) -> tuple[Any, ...]:
    items = tuple(item for text in texts for item in parse(text))
    if len(items) > _MAX_LISTED:
        raise ValueError(f"has more than {_MAX_LISTED} items")
    return items


def load_config(argv: Sequence[str], environ: Mapping[str, str], read_file: ReadFile) -> Loaded:
    """The configuration; ``argv`` holds flags only. Raises ConfigError, with every problem it could find."""
    given = read_flags(argv)
    gathering = _Gathering()
    _warn_of_foreign(given, environ, gathering)
    _take_environment(environ, gathering)
    _take_flags(given, gathering)
    document = _read_document(gathering, read_file)
    for path, (value, source) in document.values.items():
        if path not in gathering.values:
            gathering.put(path, value, source)
    _take_models(gathering)
    return _finish(gathering, document.picker)


def _warn_of_foreign(given: Given, environ: Mapping[str, str], gathering: _Gathering) -> None:
    by_name = {flag.name: flag for flag in FOREIGN_FLAGS}
    for name, text in given.foreign:
        flag = by_name[name]
        if not flag.accepts(text):
            gathering.problems.append(f"--{name}={text} is not supported: {flag.instead}.")
        elif not flag.quiet:
            gathering.warnings.append(f"--{name} is accepted and has no effect: {flag.instead}.")
    for name, instead in FOREIGN_VARIABLES.items():
        if environ.get(name):
            gathering.warnings.append(f"{name} in the environment has no effect: {instead}.")


def _take_environment(environ: Mapping[str, str], gathering: _Gathering) -> None:
    for setting in SETTINGS:
        name = next((name for name in setting.env if environ.get(name)), None)
        if name is None:
            continue
        text = environ[name]
        if name.endswith("_PORT") and _SERVICE_LINK.match(text):
            # Kubernetes gives every container NAME_PORT=tcp://... for each Service called "name".
            gathering.warnings.append(f"{name}={show(text)} in the environment is a Service link; ignored.")
            continue
        gathering.take(setting, (text,), Source(Origin.ENVIRONMENT, name), environment=True)


def _take_flags(given: Given, gathering: _Gathering) -> None:
    for setting in SETTINGS:
        texts = given.texts.get(setting.path)
        if texts:
            source = Source(Origin.COMMAND_LINE, given.spelled[setting.path])
            gathering.take(setting, texts, source, environment=False)


def _read_document(gathering: _Gathering, read_file: ReadFile) -> FileValues:
    path, text = gathering.values.get("config_file"), gathering.values.get("config_text")
    file_source, text_source = gathering.sources.get("config_file"), gathering.sources.get("config_text")
    if path is not None and text is not None:
        gathering.problems.append(f"{file_source} and {text_source} cannot both be given.")
        return FileValues()
    try:
        if text is not None:
            return read_file_values(text, f"the text of {text_source}")
        if path is not None:
            return read_file_values(_read(path, file_source, read_file), path)
    except ConfigError as error:
        gathering.problems.extend(error.problems)
    return FileValues()


def _read(path: str, source: Source | None, read_file: ReadFile) -> bytes:
    try:
        return read_file(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}, named by {source}, cannot be read: {reason}.") from error


def _take_models(gathering: _Gathering) -> None:
    values, sources = gathering.values, gathering.sources
    try:
        models = choose_models(
            paths=values.pop(MODEL_PATHS.path, ()),
            names=values.pop(MODEL_NAMES.path, ()),
            listed=values.get(MODELS.path, ()),
            sources=sources,
        )
    except ConfigError as error:
        gathering.problems.extend(error.problems)
        return
    values[MODELS.path] = models
    given = sources.get(MODEL_PATHS.path) or sources.get(MODEL_NAMES.path)
    if given is not None:
        sources[MODELS.path] = given


def _finish(gathering: _Gathering, picker: PickerConfig | None) -> Loaded:
    config = _assemble(Config(picker=picker), "", gathering.values)
    sources = {path: gathering.sources.get(path, DEFAULT) for path in DEFAULTS if path != "picker"}
    problems = gathering.problems or contradictions(config, sources)
    if problems:
        raise ConfigError(*problems)
    return Loaded(config, sources, (*gathering.warnings, *remarks(config, sources)))


def _assemble(record: Any, prefix: str, values: Mapping[str, Any]) -> Any:
    """The record with the given values in place of its defaults, nested records too."""
    changed: dict[str, Any] = {}
    for entry in fields(record):
        path, value = prefix + entry.name, getattr(record, entry.name)
        if path in values:
            changed[entry.name] = values[path]
        elif is_dataclass(value) and path != "picker":
            changed[entry.name] = _assemble(value, path + ".", values)
        else:
            changed[entry.name] = value
    return type(record)(**changed)
