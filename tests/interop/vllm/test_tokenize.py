"""Our token ids are the engine's: every template we carry, every conversation of the corpus, text prompts."""

import asyncio
import json
import urllib.error
import urllib.request
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from epp.config.model import ModelConfig, TokenizeConfig
from epp.core.tokens import Exactness
from epp.testing.vocab import build_model_dir, template_names, template_text
from epp.tokenize import NullMetrics, TokenizerService
from epp.wire.openai import parse_request
from tests.unit.tokenize.corpus import CONVERSATIONS, TOOLS

from .conftest import Engines
from .model import TEMPLATE

_MORE: tuple[dict[str, Any], ...] = (
    {},
    {"tools": TOOLS},
    {"chat_template_kwargs": {"enable_thinking": False}},
)
_TEXTS = (
    "plain text",
    "",
    "<|im_start|>special<|im_end|>",
    "cafe\u0301 中文\n\n x",
    "\ufeff\u200b🎉 \u0000 ½",
)


def bodies() -> Iterator[dict[str, Any]]:
    for messages in CONVERSATIONS.values():
        for more in _MORE:
            yield {"model": "m", "messages": [_on_the_wire(message) for message in messages], **more}
    for text in _TEXTS:
        yield {"model": "m", "prompt": text}


def _on_the_wire(message: dict[str, Any]) -> dict[str, Any]:
    """The arguments of tool calls are JSON text there; engines parse them before they render."""
    if not message.get("tool_calls"):
        return message
    calls = [{**call, "function": {**call["function"]}} for call in message["tool_calls"]]
    for call in calls:
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return {**message, "tool_calls": calls}


@pytest.mark.parametrize("template", template_names())
async def test_every_prompt_has_the_engines_ids(engines: Engines, tmp_path: Path, template: str) -> None:
    """The engine renders its own template, or the one a request brings."""
    folder = build_model_dir(tmp_path / "model", "qwen", template=template)
    brought = {} if template == TEMPLATE else {"chat_template": template_text(template)}
    models = (ModelConfig("m", str(folder)),)
    service = TokenizerService(TokenizeConfig(models=models), NullMetrics())
    await service.start()
    await service.tried()
    compared = refused = 0
    for body in bodies():
        expected = await asyncio.to_thread(_ids, engines.wide.url, {**body, **brought})
        prompt = parse_request("/tokenize", json.dumps(body).encode()).prompt
        assert prompt is not None
        got = await service.tokenize("m", prompt)
        if expected is None:
            refused += 1
            continue
        assert (got.exactness, list(array("I", got.tokens))) == (Exactness.EXACT, expected), body
        compared += 1
    await service.close()
    assert (compared > 20, refused <= len(_MORE)) == (True, True), (compared, refused)


def _ids(url: str, body: dict[str, Any]) -> list[int] | None:
    """The engine's ids; None: it refuses the prompt."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/tokenize", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            tokens: list[int] = json.load(answer)["tokens"]
            return tokens
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise
        return None
