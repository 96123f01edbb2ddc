"""Rules on pairs of settings, as rows: a question to the configuration, and the two settings to name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic

from epp.config.sources import Source
from epp.config.table import C, Table, value_at

Sources = Callable[[str], Source]
"""Path of a setting → where its value came from."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[C]):
    """One pair that cannot be."""

    is_broken: Callable[[C], bool]
    first: str
    second: str
    because: str
    """Completes "FIRST and SECOND contradict each other: ..."."""
    only_if_given: bool = False
    """The first must have been asked for; its default contradicts nothing."""


def broken(rules: Iterable[Rule[C]], table: Table[C], config: C, sources: Sources) -> list[str]:
    """One sentence for each pair of settings that cannot be together, naming both."""
    return [
        f"{said(table, rule.first, config, sources)} and {said(table, rule.second, config, sources)}"
        f" contradict each other: {rule.because}."
        for rule in rules
        if rule.is_broken(config) and (sources(rule.first).is_given or not rule.only_if_given)
    ]


def said(table: Table[C], path: str, config: C, sources: Sources) -> str:
    """A setting with its value and where it came from."""
    return f"{table.said(path, value_at(config, path))} ({sources(path)})"
