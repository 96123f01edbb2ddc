"""The service: what is exact, what degrades and how it says so, one load for many, bounds and deadlines."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from msgspec import structs

from epp.config.model import ModelConfig, TokenizeConfig
from epp.core.requests import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from epp.core.tokens import Exactness, Tokenized, Tokenizer
from epp.testing.vocab import Kind
from epp.tokenize import LoadState, NullMetrics, TokenizerService
from epp.tokenize.backends import Backend
from epp.tokenize.chat import ChatTemplates
from epp.tokenize.cuts import NO_CUTS
from epp.tokenize.errors import LoadError
from epp.tokenize.model import LoadedModel
from tests.unit.tokenize.support import Recorded, running_service

_CHAT = ChatPrompt([{"role": "user", "content": "hello there"}])
_TEXT = TextPrompt(("hello there",))


@pytest.fixture
def tiny(loaded: Callable[[Kind], LoadedModel]) -> LoadedModel:
    return loaded("tiny")


class Gated:
    """A backend that waits for ``gate`` before it encodes."""

    name = "gated"

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.gate = Event()
        self.entered = Event()
        self.calls = 0

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = False
    ) -> tuple[bytes, Sequence[int]]:
        self.calls += 1
        self.entered.set()
        assert self.gate.wait(60)
        return self._inner.encode(texts, add_special_tokens=add_special_tokens)


@pytest.fixture
async def gated(tiny: LoadedModel) -> AsyncIterator[Gated]:
    backend = Gated(tiny.backend)
    yield backend
    backend.gate.set()


async def _until(event: Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


def _service_is_a_tokenizer(service: TokenizerService) -> Tokenizer:
    return service


async def test_text_is_bracketed_and_chat_is_not(loaded: Callable[[Kind], LoadedModel]) -> None:
    model = loaded("tekken")
    body, _ = model.backend.encode(["hello there"])
    async with running_service(model) as service:
        text = await service.tokenize("m", _TEXT)
        assert text.tokens == model.before + body
        assert (await service.tokenize("m", structs.replace(_TEXT, add_special_tokens=False))).tokens == body
        chat = await service.tokenize("m", _CHAT)
        added = await service.tokenize("m", structs.replace(_CHAT, add_special_tokens=True))
        assert added.tokens == model.before + chat.tokens
        assert added.prompt_tokens == len(added.tokens) // 4 == chat.prompt_tokens + 1


async def test_only_the_first_of_several_texts_counts(tiny: LoadedModel) -> None:
    async with running_service(tiny) as service:
        several = await service.tokenize("m", TextPrompt(("hello there", "other")))
        assert several == await service.tokenize("m", _TEXT)


async def test_token_ids_pass_whatever_the_model(tiny: LoadedModel) -> None:
    tokens = array("I", [5, 6, 7]).tobytes()
    async with running_service(tiny) as service:
        for model in ("m", "nobody"):
            assert await service.tokenize(model, TokenPrompt(tokens)) == Tokenized(tokens, Exactness.EXACT, 3)
        bad = await service.tokenize("m", TokenPrompt(tokens[:-1]))
    assert (bad.tokens, bad.exactness, bad.degraded) == (b"", Exactness.NONE, "invalid-token-ids")


async def test_names_aliases_and_adapters_of_the_only_model(tiny: LoadedModel) -> None:
    async with running_service(tiny) as service:
        results = [await service.tokenize(name, _TEXT) for name in ("m", "alias", "an-adapter")]
    assert {result.exactness for result in results} == {Exactness.EXACT}
    assert len({result.tokens for result in results}) == 1


async def test_with_several_models_an_unknown_name_is_estimated(tiny: LoadedModel) -> None:
    config = TokenizeConfig(models=(ModelConfig("a", "x", ("adapter",)), ModelConfig("b", "y")))
    metrics = Recorded()
    service = TokenizerService(config, metrics, load=lambda _path, _revision: tiny)
    await service.start()
    await service.tried()
    assert (await service.tokenize("adapter", _TEXT)).degraded is None
    unknown = await service.tokenize("c", _TEXT)
    await service.close()
    assert (unknown.exactness, unknown.degraded) == (Exactness.ESTIMATED, "unknown-model")
    assert metrics.reasons == [("unknown", "unknown-model")]


async def test_without_models_everything_is_estimated() -> None:
    service = TokenizerService(TokenizeConfig(), NullMetrics())
    await service.start()
    await service.tried()
    assert service.ready
    assert service.models() == ()
    result = await service.tokenize("m", _TEXT)
    assert (result.exactness, result.degraded) == (Exactness.ESTIMATED, "no-tokenizer")
    await service.close()


async def test_one_load_serves_all_names_of_a_folder_and_prompts_meanwhile(tiny: LoadedModel) -> None:
    gate, loads = Event(), []

    def load(path: str, revision: str | None) -> LoadedModel:
        loads.append((path, revision))
        assert gate.wait(60)
        return tiny

    models = (ModelConfig("a", "x"), ModelConfig("b", "x"), ModelConfig("c", "x", revision="v2"))
    service = TokenizerService(TokenizeConfig(models=models), NullMetrics(), load=load)
    await service.start()
    during = await asyncio.gather(*(service.tokenize(name, _CHAT) for name in "abcabc"))
    assert {(result.exactness, result.degraded) for result in during} == {
        (Exactness.ESTIMATED, "tokenizer-loading")
    }
    assert not service.ready
    assert {status.state for status in service.models()} == {LoadState.LOADING}
    gate.set()
    await service.tried()
    assert sorted(loads, key=str) == [("x", "v2"), ("x", None)] or sorted(loads, key=str) == [
        ("x", None),
        ("x", "v2"),
    ]
    assert service.ready
    [first, *_] = service.models()
    assert (first.state, first.backend, first.splits_text, first.chat, first.error) == (
        LoadState.READY,
        "fastokens",
        True,
        True,
        None,
    )
    assert (await service.tokenize("b", _CHAT)).exactness is Exactness.EXACT
    await service.close()


@pytest.mark.parametrize("error", [LoadError("no tokenizer.json"), RuntimeError("surprise")])
async def test_a_failed_load_is_told_and_tried_again(
    tiny: LoadedModel, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epp.tokenize.loader._RETRY_S", (0.0,))
    again, answers = Event(), [error]

    def load(_path: str, _revision: str | None) -> LoadedModel:
        if answers:
            raise answers.pop()
        assert again.wait(60)
        return tiny

    metrics = Recorded()
    service = TokenizerService(TokenizeConfig(models=(ModelConfig("m", "x"),)), metrics, load=load)
    await service.start()
    await service.tried()
    [status] = service.models()
    assert status.state is LoadState.FAILED
    assert str(error) in str(status.error)
    assert metrics.failures == [status.error]
    assert (await service.tokenize("m", _TEXT)).degraded == "tokenizer-failed"
    again.set()
    async with asyncio.timeout(60):
        while not service.ready:
            await asyncio.sleep(0)
    assert (await service.tokenize("m", _TEXT)).exactness is Exactness.EXACT
    await service.close()


@pytest.mark.parametrize(
    ("source", "prompt", "reason"),
    [
        ("{{ raise_exception('no') }}", _CHAT, "template-refused"),
        ("{{ nothing.more }}", _CHAT, "template-error"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            _CHAT,
            "template-timeout",
        ),
        ("", ChatPrompt([{"role": "user", "content": 3}]), "template-error"),
        ("{{ messages[0].content }}", ChatPrompt([{"role": "user", "content": "\ud800"}]), "invalid-text"),
        ("", ChatPrompt([]), "template-refused"),
        ("", structs.replace(_CHAT, template="other"), "no-chat-template"),
        (None, _CHAT, "no-chat-template"),
        (None, TextPrompt(()), "empty-prompt"),
        (None, TextPrompt(("a\ud800",)), "invalid-text"),
    ],
    ids=str,
)
async def test_prompts_that_cannot_be_tokenized(
    tiny: LoadedModel, source: str | None, prompt: Prompt, reason: str
) -> None:
    templates = ChatTemplates({} if source is None else {"default": source}, {})
    metrics = Recorded()
    patience: dict[str, Any] = {"render_deadline_s": 0.1} if reason == "template-timeout" else {}
    async with running_service(replace(tiny, templates=templates), metrics, **patience) as service:
        result = await service.tokenize("m", prompt)
    assert (result.tokens, result.exactness, result.degraded) == (b"", Exactness.NONE, reason)
    assert metrics.reasons == [("m", reason)]


async def test_an_encoder_that_fails_is_no_exception(tiny: LoadedModel) -> None:
    class Failing:
        name = "failing"

        def encode(
            self, texts: Sequence[str], *, add_special_tokens: bool = False
        ) -> tuple[bytes, Sequence[int]]:
            raise ValueError("match limit")

    async with running_service(replace(tiny, backend=Failing())) as service:
        result = await service.tokenize("m", _TEXT)
    assert (result.exactness, result.degraded) == (Exactness.NONE, "tokenizer-error")


async def test_a_template_too_slow_for_the_loop_is_rendered_on_a_thread(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epp.tokenize.service._INLINE_RENDER_S", -1.0)
    metrics = Recorded()
    async with running_service(tiny, metrics) as service:
        assert (await service.tokenize("m", _CHAT)).exactness is Exactness.EXACT
    assert metrics.depths == [1, 0]


async def test_only_new_text_decides_between_loop_and_thread(tiny: LoadedModel) -> None:
    metrics, long = Recorded(), "some words and " * 4000
    async with running_service(tiny, metrics, inline_bytes=20_000) as service:
        first = await service.tokenize("m", TextPrompt((long,)))
        assert metrics.depths == [1, 0]
        second = await service.tokenize("m", TextPrompt((long + "more",)))
        assert metrics.depths == [1, 0]
    assert second.tokens.startswith(first.tokens[:-64])
    assert metrics.cached[0][0] == 0
    assert metrics.cached[1][0] > 0.9 * first.prompt_tokens
    assert metrics.sizes[-1][0] > 0


async def test_the_slower_library_gets_less_to_do_on_the_loop(tiny: LoadedModel) -> None:
    metrics = Recorded()
    async with running_service(
        replace(tiny, not_fastokens="other ids"), metrics, inline_bytes=16_000
    ) as service:
        await service.tokenize("m", TextPrompt(("word " * 100,)))
        assert metrics.depths == []
        await service.tokenize("m", TextPrompt(("word " * 400,)))
        assert metrics.depths == [1, 0]


async def test_a_full_queue_and_a_missed_deadline(tiny: LoadedModel, gated: Gated) -> None:
    model = replace(tiny, backend=gated, cuts=NO_CUTS)
    settings: dict[str, Any] = {"inline_bytes": 0, "threads": 1, "max_queued": 1}
    metrics = Recorded()
    async with running_service(model, metrics, **settings) as service:
        running = asyncio.create_task(service.tokenize("m", _TEXT))
        await _until(gated.entered)
        waiting = asyncio.create_task(service.tokenize("m", _TEXT))
        await asyncio.sleep(0)
        refused = await service.tokenize("m", _TEXT)
        assert (refused.exactness, refused.degraded) == (Exactness.NONE, "tokenizer-queue-full")
        assert refused.prompt_tokens == len("hello there") // 4
        waiting.cancel()
        await asyncio.wait({waiting})
        gated.gate.set()
        assert (await running).exactness is Exactness.EXACT
    assert waiting.cancelled()
    assert max(metrics.depths) == 2
    assert metrics.depths[-1] == 0
    assert gated.calls == 1


async def test_work_past_its_deadline_is_not_waited_for(tiny: LoadedModel, gated: Gated) -> None:
    model = replace(tiny, backend=gated)
    async with running_service(model, inline_bytes=0, threads=1, deadline_s=0.01) as service:
        late, queued = await asyncio.gather(service.tokenize("m", _TEXT), service.tokenize("m", _TEXT))
        assert {late.degraded, queued.degraded} == {"tokenizer-deadline"}
        gated.gate.set()
    assert gated.calls <= 1, "what had not begun by then never does"


async def test_a_closed_service_answers_without_tokens(tiny: LoadedModel) -> None:
    async with running_service(tiny, inline_bytes=0) as service:
        pass
    result = await service.tokenize("m", _TEXT)
    assert (result.exactness, result.degraded) == (Exactness.NONE, "tokenizer-closed")


async def test_what_waits_when_the_service_closes_is_answered(tiny: LoadedModel, gated: Gated) -> None:
    async with running_service(replace(tiny, backend=gated), inline_bytes=0, threads=1) as service:
        running = asyncio.create_task(service.tokenize("m", _TEXT))
        await _until(gated.entered)
        waiting = asyncio.create_task(service.tokenize("m", _TEXT))
        await asyncio.sleep(0)
    assert (await waiting).degraded == "tokenizer-closed"
    gated.gate.set()
    assert (await running).exactness is Exactness.EXACT


async def test_closing_while_loading_does_not_wait(tiny: LoadedModel) -> None:
    gate = Event()

    def load(_path: str, _revision: str | None) -> LoadedModel:
        gate.wait(60)
        return tiny

    service = TokenizerService(TokenizeConfig(models=(ModelConfig("m", "x"),)), NullMetrics(), load=load)
    await service.start()
    await service.close()
    gate.set()
    assert not service.ready


async def test_multimodal_prompts_are_exact_up_to_the_image(loaded: Callable[[Kind], LoadedModel]) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}"
        "{% if p.type == 'text' %}{{ p.text }}{% else %}<|endoftext|>{% endif %}{% endfor %}"
        "<|im_end|>\n{% endfor %}"
    )
    model = replace(loaded("qwen"), templates=ChatTemplates({"default": source}, {}))

    def chat(parts: list[dict[str, str]]) -> ChatPrompt:
        system = {"role": "system", "content": "Look at pictures with great care and say what they show."}
        return ChatPrompt([system, {"role": "user", "content": parts}], multimodal=True)

    text = {"type": "text", "text": "What is in the first picture of the series: "}
    async with running_service(model) as service:
        got = await service.tokenize(
            "m", chat([text, {"type": "image_url"}, {"type": "text", "text": "rest " * 50}])
        )
        same = await service.tokenize("m", chat([text, {"type": "audio_url"}]))
        full = await service.tokenize("m", chat([text, {"type": "text", "text": "<|endoftext|>"}]))
        at_once = await service.tokenize("m", chat([{"type": "image_url"}]))
    assert (got.exactness, got.degraded) == (Exactness.PARTIAL, "multimodal")
    assert got.tokens == same.tokens
    assert full.exactness is Exactness.EXACT
    assert full.tokens.startswith(got.tokens)
    assert len(got.tokens) > 0.6 * len(full.tokens)
    assert got.prompt_tokens > len(got.tokens) // 4 + 50
    assert full.tokens.startswith(at_once.tokens)


async def test_estimates_share_prefixes_like_the_texts_they_stand_for() -> None:
    service = TokenizerService(TokenizeConfig(), NullMetrics())

    def chat(*texts: str) -> ChatPrompt:
        return ChatPrompt([{"role": "user", "content": text} for text in texts])

    one = await service.tokenize("m", chat("a long first message, the same in both", "second"))
    two = await service.tokenize("m", chat("a long first message, the same in both", "another"))
    tools = await service.tokenize("m", structs.replace(chat("x"), tools=[{"name": "t"}]))
    parts = await service.tokenize(
        "m", ChatPrompt([{"role": "user", "content": [{"type": "text", "text": "hi"}]}])
    )
    broken = await service.tokenize("m", chat("\ud800"))
    await service.close()
    assert one.tokens[:40] == two.tokens[:40]
    assert one.tokens != two.tokens
    for result in (one, two, tools, parts):
        assert result.exactness is Exactness.ESTIMATED
        assert len(result.tokens) == 4 * result.prompt_tokens > 0
    assert broken.exactness is Exactness.NONE
