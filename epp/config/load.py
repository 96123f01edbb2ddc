"""The picker's configuration: its table of settings, read from every place and checked."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from epp.config import gather
from epp.config.gather import ReadFile
from epp.config.model import Config
from epp.config.settings import TABLE
from epp.config.validate import contradictions, remarks

Loaded: TypeAlias = gather.Loaded[Config]
"""A configuration, and how it came to be."""


def load_config(argv: Sequence[str], environ: Mapping[str, str], read_file: ReadFile) -> Loaded:
    """The configuration; ``argv`` holds flags only. Raises ConfigError, with every problem it could find."""
    config, gathered = gather.gather(TABLE, argv, environ, read_file)
    problems = contradictions(config, gathered.source)
    return gather.finish(TABLE, config, gathered, problems, remarks(config, gathered.source))
