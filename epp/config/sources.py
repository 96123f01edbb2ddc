"""Where a value came from, so that every message and ``epp check`` can say it."""

from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """The four places a value may come from, strongest first."""

    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """Where one value came from."""

    origin: Origin
    name: str = ""
    """The flag, the variable, or ``key in file``; empty for a default."""

    @property
    def is_given(self) -> bool:
        """Somebody asked for this value."""
        return self.origin is not Origin.DEFAULT

    def __str__(self) -> str:
        match self.origin:
            case Origin.COMMAND_LINE:
                return f"{self.name} on the command line"
            case Origin.ENVIRONMENT:
                return f"{self.name} in the environment"
            case Origin.FILE:
                return self.name
            case Origin.DEFAULT:
                return "the default"


DEFAULT = Source(Origin.DEFAULT)
