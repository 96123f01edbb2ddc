"""Our ids against those recorded from transformers (tests/golden/tokenize)."""

import json
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epp.core.requests import ChatPrompt
from epp.testing.vocab import Kind, template_text
from epp.tokenize.chat import ChatTemplates
from epp.tokenize.files import read_model_folder
from epp.tokenize.model import LoadedModel
from tests.unit.tokenize.conftest import ModelDir
from tests.unit.tokenize.corpus import CONVERSATIONS, TOOLS
from tests.unit.tokenize.support import running_service

_CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "tokenize" / "chats.json").read_text(encoding="utf-8")
)["cases"]
_PAIRS = sorted({(case["template"], case["vocabulary"]) for case in _CASES})


@pytest.mark.parametrize(("template", "kind"), _PAIRS)
async def test_recorded_chats(
    loaded: Callable[[Kind], LoadedModel], model_dir: ModelDir, template: str, kind: Kind
) -> None:
    special_tokens = read_model_folder(model_dir(kind)).special_tokens
    templates = ChatTemplates({"default": template_text(template)}, special_tokens)
    cases = [case for case in _CASES if (case["template"], case["vocabulary"]) == (template, kind)]
    assert len(cases) == len(CONVERSATIONS)
    async with running_service(replace(loaded(kind), templates=templates)) as service:
        for case in cases:
            prompt = ChatPrompt(CONVERSATIONS[case["conversation"]], tools=TOOLS)
            got = await service.tokenize("m", prompt)
            expected = case["expected"]
            assert list(array("I", got.tokens)) == (expected["ids"] if expected else []), case["conversation"]
            if expected:
                assert templates.render(prompt, 5.0).text == expected["text"]
