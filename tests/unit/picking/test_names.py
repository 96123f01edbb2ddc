"""What a model name stands for."""

import pytest

from epp.config.model import ModelConfig
from epp.picking.names import ModelName, ModelNames

from .stage import endpoint

ONE = (ModelConfig("llama", "x", aliases=("meta/llama",)),)
TWO = (*ONE, ModelConfig("qwen", "x"))


def names(models: tuple[ModelConfig, ...], *adapters: str) -> ModelNames:
    return ModelNames(models, lambda name: name in adapters)


@pytest.mark.parametrize(
    ("models", "asked", "means"),
    [
        (ONE, "llama", ModelName("llama", "")),
        (ONE, "meta/llama", ModelName("llama", "")),
        (ONE, "tuned", ModelName("llama", "tuned")),
        (ONE, "unheard-of", ModelName("llama", "unheard-of")),
        (ONE, "", ModelName("", "")),
        (TWO, "qwen", ModelName("qwen", "")),
        (TWO, "tuned", ModelName("tuned", "tuned")),
        (TWO, "unheard-of", ModelName("unheard-of", "")),
        ((), "anything", ModelName("anything", "")),
        ((), "tuned", ModelName("tuned", "tuned")),
    ],
)
def test_names(models: tuple[ModelConfig, ...], asked: str, means: ModelName) -> None:
    assert names(models, "tuned").resolve(asked) == means


def test_a_models_own_name_is_never_an_adapter() -> None:
    assert names(ONE, "llama").resolve("llama") == ModelName("llama", "")


def test_labels_matter_only_among_several_models() -> None:
    pool = (endpoint(1, labels={"model": "llama"}), endpoint(2, labels={"model": "qwen"}), endpoint(3))
    assert names(ONE).serving("llama", pool) is None
    assert names(TWO).serving("unheard-of", pool) is None
    serving = names(TWO).serving("qwen", pool)
    assert serving is not None
    assert [e.worker_id for e in serving] == [2, 3]
