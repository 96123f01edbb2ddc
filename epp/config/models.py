"""Which models are tokenized here, from repeated flags, variables and a file's list."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from epp.config.errors import ConfigError
from epp.config.model import ModelConfig
from epp.config.sources import Source
from epp.config.table import MODEL_NAMES, MODEL_PATHS


def choose_models(
    paths: Sequence[str],
    names: Sequence[str],
    listed: tuple[ModelConfig, ...],
    sources: Mapping[str, Source],
    listed_in: Source | None,
) -> tuple[ModelConfig, ...]:
    """The models: paths with names in order, else the file's list; raises ConfigError.

    A path without names is called by its path, as model servers do. One name and a list of one model
    renames that model.
    """
    if paths:
        models = _pair(paths, names, sources)
    elif names:
        models = _rename(names, listed, sources, listed_in)
    else:
        models = listed
    _refuse_twins(models)
    return models


def _pair(
    paths: Sequence[str], names: Sequence[str], sources: Mapping[str, Source]
) -> tuple[ModelConfig, ...]:
    if names and len(names) != len(paths):
        raise ConfigError(
            f"{sources[MODEL_PATHS.path]} gives {len(paths)} paths and {sources[MODEL_NAMES.path]} gives"
            f" {len(names)} names; give one name for each path, in the same order, or none."
        )
    return tuple(ModelConfig(name=name, path=path) for path, name in zip(paths, names or paths, strict=True))


def _rename(
    names: Sequence[str],
    listed: tuple[ModelConfig, ...],
    sources: Mapping[str, Source],
    there: Source | None,
) -> tuple[ModelConfig, ...]:
    if len(names) == 1 and len(listed) == 1:
        return (replace(listed[0], name=names[0]),)
    against = f"{there} lists {len(listed)} models" if there else f"--{MODEL_PATHS.flag} is not given"
    raise ConfigError(f"{sources[MODEL_NAMES.path]} names {len(names)} models, but {against}.")


def _refuse_twins(models: Sequence[ModelConfig]) -> None:
    seen: set[str] = set()
    for model in models:
        for name in (model.name, *model.aliases):
            if name in seen:
                raise ConfigError(f"Two models are called {name!r}; give each its own name.")
            seen.add(name)
