"""The command line as text: which settings were given, and how they were spelled.

Accepted spellings: ``--flag value``, ``--flag=value``, Go's ``-flag=value``, booleans bare, as
``=true``/``=false`` or as ``--no-flag``. A flag given twice counts the last time, unless it is a list.
Values stay text here; :mod:`epp.config.load` turns them into values like those of every other source.
"""

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from epp.config.errors import ConfigError
from epp.config.foreign import ForeignFlag
from epp.config.table import C, Setting, Table, shown_value

_Adder: TypeAlias = Callable[..., argparse.Action]
"""``add_argument`` of a parser or a group."""
_GO_SPELLING = re.compile(r"-[a-z][a-z0-9-]+(=.*)?", re.DOTALL)


@dataclass(slots=True)
class Given:
    """What a command line said."""

    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Path of a setting → its texts, in order."""
    spelled: dict[str, str] = field(default_factory=dict[str, str])
    """Path of a setting → the flag as it was given."""
    foreign: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(name, text) of other pickers' flags."""


class FlagParser(argparse.ArgumentParser):
    """An argument parser that raises ConfigError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise ConfigError(f"{message}.")


class _Store(argparse.Action):
    """Notes one setting."""

    def __init__(self, *args: Any, setting: Setting, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._setting = setting

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 -- argparse's signature
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        spelled = option_string or ""
        text = "false" if self.nargs == 0 else "true" if values is None else str(values)
        given: Given = namespace.given
        texts = given.texts.setdefault(self._setting.path, [])
        if not self._setting.kind.repeats:
            texts.clear()
        texts.append(text)
        given.spelled[self._setting.path] = spelled


class _StoreForeign(argparse.Action):
    """Notes a flag of another picker."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 -- argparse's signature
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002 -- argparse's signature
    ) -> None:
        given: Given = namespace.given
        text = "false" if self.nargs == 0 else "true" if values is None else str(values)
        given.foreign.append((self.dest, text))


def add_settings(parser: argparse.ArgumentParser, table: Table[C], *, with_help: bool) -> None:
    """Declare every flag of the table; ``with_help`` costs a look at the sources of the records."""
    adders: dict[str, _Adder] = {}
    for setting in table.settings:
        if setting.flag:
            title = _title(table, setting)
            if title not in adders:
                adders[title] = parser.add_argument_group(title).add_argument
            _add(adders[title], setting, _help(table, setting) if with_help else None)
    for foreign in table.foreign_flags:
        _add_foreign(parser, foreign)


def _title(table: Table[C], setting: Setting) -> str:
    """The group of a setting in the help: its outermost record."""
    record, dot, _ = setting.path.removeprefix(table.engine).partition(".")
    return record if dot else "files and models" if not table.engine else "general"


def _add(add_argument: _Adder, setting: Setting, text: str | None) -> None:
    boolean = setting.kind.is_boolean
    names = [f"--{setting.flag}", *([f"-{setting.short}"] if setting.short else [])]
    shared: dict[str, Any] = {"action": _Store, "setting": setting, "dest": setting.path}
    value: dict[str, Any] = {"nargs": "?" if boolean else None, "metavar": "BOOL" if boolean else "VALUE"}
    add_argument(*names, **shared, **value, help=text)
    if setting.former:
        former = [f"--{name}" for name in setting.former]
        add_argument(*former, **shared, **value, help=argparse.SUPPRESS)
    if boolean:
        negated = [f"--no-{name}" for name in (setting.flag, *setting.former)]
        add_argument(*negated, **shared, nargs=0, help=argparse.SUPPRESS)


def _add_foreign(parser: argparse.ArgumentParser, foreign: ForeignFlag) -> None:
    names = ["-v", "--v"] if foreign.name == "v" else [f"--{foreign.name}"]
    shared: dict[str, Any] = {"action": _StoreForeign, "dest": foreign.name, "help": argparse.SUPPRESS}
    parser.add_argument(*names, **shared, nargs="?" if foreign.is_boolean else None)
    if foreign.is_negatable:
        parser.add_argument(f"--no-{foreign.name}", **shared, nargs=0)


def _help(table: Table[C], setting: Setting) -> str:
    from epp.config.docstrings import help_text  # noqa: PLC0415 -- only for --help

    names = f"; {setting.env[0]}" if setting.env else ""
    default = shown_value(table.defaults.get(setting.path))
    return f"{help_text(table, setting)} (default {default}{names})".replace("%", "%%")


def build_parser(table: Table[C], prog: str, *, with_help: bool) -> FlagParser:
    """The parser of every setting's flag; ``with_help`` adds ``--help`` and its texts."""
    parser = FlagParser(
        prog=prog,
        usage=f"{prog} [flags]",
        add_help=with_help,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add_settings(parser, table, with_help=with_help)
    return parser


def read_flags(argv: Sequence[str], table: Table[C]) -> Given:
    """What ``argv`` says; raises ConfigError for anything that is not a known flag with its value."""
    parser = build_parser(table, "epp", with_help=False)
    namespace = argparse.Namespace(given=Given())
    _, unknown = parser.parse_known_args([_long(word) for word in argv], namespace)
    if unknown:
        raise ConfigError(_unknown(unknown[0], table))
    given: Given = namespace.given
    return given


def _long(word: str) -> str:
    """Go's ``-flag`` as ``--flag``."""
    return f"-{word}" if _GO_SPELLING.fullmatch(word) and not re.fullmatch(r"-v\d+", word) else word


def _unknown(word: str, table: Table[C]) -> str:
    if not word.startswith("-"):
        return f"There is nothing to do with {word!r}: settings are given as --flag=value."
    name = word.lstrip("-").partition("=")[0]
    close = difflib.get_close_matches(name, _names(table), n=1)
    hint = f"; did you mean --{close[0]}?" if close else "."
    return f"There is no flag --{name}{hint}"


def _names(table: Table[C]) -> list[str]:
    return [setting.flag for setting in table.settings if setting.flag]
