"""Plugins of other packages, found by entry points.

The one place that looks at what is installed. Nothing is imported until a configuration names the type.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from epp.config.errors import ConfigError
from epp.core.scheduling.plugin import Filter, ForeignFactory, Picker, Scorer

GROUPS: Mapping[str, type] = {"epp.filters": Filter, "epp.scorers": Scorer, "epp.pickers": Picker}
"""Entry-point group → the contract its plugins keep."""


@dataclass(frozen=True, slots=True)
class ForeignPlugin:
    """One entry point."""

    type: str
    """The type a configuration calls it by."""
    group: str
    package: str
    """Distribution that offers it, for messages."""
    load: Callable[[], ForeignFactory]
    """Imports the factory; may raise anything."""

    def make(self, parameters: Mapping[str, object]) -> object:
        """The plugin; raises ConfigError when its package or its factory fails, or it is no plugin."""
        said = f"Plugin {self.type!r} of package {self.package}"
        try:
            made = self.load()(parameters)
        except Exception as error:
            raise ConfigError(f"{said} cannot be made: {type(error).__name__}: {error}.") from error
        if not isinstance(made, GROUPS[self.group]):
            raise ConfigError(f"{said} is not what {self.group} asks for; docs/plugins.md says what is.")
        return made


def installed_plugins() -> tuple[ForeignPlugin, ...]:
    """Every entry point of the three groups in this environment."""
    return tuple(_of(point) for group in GROUPS for point in entry_points(group=group))


def _of(point: EntryPoint) -> ForeignPlugin:
    package = point.dist.name if point.dist is not None else "unknown"
    return ForeignPlugin(type=point.name, group=point.group, package=package, load=point.load)
