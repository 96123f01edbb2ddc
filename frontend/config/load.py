"""The frontend's configuration: its table of settings, read from every place, completed and checked."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from epp.config import gather
from epp.config.gather import ReadFile
from frontend.config.derive import derive
from frontend.config.model import FrontendConfig
from frontend.config.settings import TABLE
from frontend.config.validate import contradictions, remarks

Loaded: TypeAlias = gather.Loaded[FrontendConfig]
"""A configuration, and how it came to be."""


def load_frontend(argv: Sequence[str], environ: Mapping[str, str], read_file: ReadFile) -> Loaded:
    """The configuration; ``argv`` holds flags only. Raises ConfigError, with every problem it could find."""
    given, gathered = gather.gather(TABLE, argv, environ, read_file)
    config = derive(given, gathered)
    problems = contradictions(config, gathered.source)
    return gather.finish(TABLE, config, gathered, problems, remarks(config, gathered.source))
