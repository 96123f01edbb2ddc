"""Vocabularies of real size, built once and kept in pytest's cache; models loaded once per run."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from epp.testing.vocab import Kind, cached_model_dir
from epp.tokenize.model import LoadedModel, load_model

ModelDir = Callable[..., Path]


@pytest.fixture(scope="session")
def model_dir(pytestconfig: pytest.Config) -> ModelDir:
    folder = pytestconfig.cache.mkdir("vocabularies")

    def build(kind: Kind, template: str | None = None) -> Path:
        return cached_model_dir(folder, kind, template=template)

    return build


@pytest.fixture(scope="session")
def loaded(model_dir: ModelDir) -> Callable[[Kind], LoadedModel]:
    @cache
    def load(kind: Kind) -> LoadedModel:
        return load_model(model_dir(kind))

    return load
