"""The prefix cache: exact whatever is edited, bounded, shared by prompts with a common beginning."""

import random
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epp.testing.vocab import Kind
from epp.tokenize.cuts import NO_CUTS
from epp.tokenize.model import LoadedModel
from epp.tokenize.prefixcache import EncodePlan, PrefixCache
from tests.unit.tokenize.test_cuts import TEXTS

LARGE = 64 * 1024 * 1024


def _encode(cache: PrefixCache, model: LoadedModel, text: str) -> tuple[bytes, EncodePlan]:
    plan = cache.plan(model.number, model.cuts, text)
    ids, offsets = model.backend.encode(plan.missing)
    return cache.complete(plan, model.number, ids, offsets), plan


def _prose(rng: random.Random, size: int) -> str:
    words = [
        "the",
        "quick",
        "Füchse",
        "12",
        "jump",
        "over",
        '"lazy"',
        "dogs.\n",
        "中文",
        "e\u0301",
        "  ",
        "it's",
        "\r\n",
    ]
    text = ""
    while len(text) < size:
        text += " ".join(rng.choices(words, k=200))
    return text[:size]


@pytest.mark.parametrize("kind", ["qwen", "tekken"])
def test_edited_texts_encode_as_without_a_cache(loaded: Callable[[Kind], LoadedModel], kind: Kind) -> None:
    model, base = loaded(kind), _prose(random.Random(1), 30_000)
    cache = PrefixCache(LARGE)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, len(base)), st.integers(0, 200), TEXTS, st.integers(0, len(base)))
    def check(at: int, removed: int, inserted: str, end: int) -> None:
        text = (base[:at] + inserted + base[at + removed :])[:end]
        assert _encode(cache, model, text)[0] == model.backend.encode([text])[0]

    check()
    assert len(cache) > 3


def test_a_shared_beginning_is_not_encoded_again(loaded: Callable[[Kind], LoadedModel]) -> None:
    model, rng = loaded("qwen"), random.Random(2)
    head, cache = _prose(rng, 200_000), PrefixCache(LARGE)
    _encode(cache, model, head + _prose(rng, 10_000))
    ids, plan = _encode(cache, model, head + _prose(rng, 10_000))
    assert plan.missing_chars < 10_000 + 16_384 + 1_000
    assert plan.cached_tokens > 0.85 * len(array("I", ids))


def test_memory_is_bounded_and_the_oldest_goes_first(loaded: Callable[[Kind], LoadedModel]) -> None:
    model, rng, cache = loaded("qwen"), random.Random(3), PrefixCache(100_000)
    first, second = _prose(rng, 20_000), _prose(rng, 20_000)
    _encode(cache, model, first)
    size, entries = cache.size_bytes, len(cache)
    assert 0 < size <= 100_000
    _encode(cache, model, second)
    assert _encode(cache, model, first)[1].cached_tokens > 0  # both fit; the first is now the newest
    for _ in range(20):
        _encode(cache, model, _prose(rng, 20_000))
        _encode(cache, model, first)
        assert cache.size_bytes <= 100_000
    assert _encode(cache, model, second)[1].cached_tokens == 0
    assert _encode(cache, model, first)[1].cached_tokens > 0
    assert entries >= 4


def test_a_cache_of_nothing_still_encodes(loaded: Callable[[Kind], LoadedModel]) -> None:
    model, cache = loaded("qwen"), PrefixCache(0)
    text = _prose(random.Random(4), 50_000)
    assert _encode(cache, model, text)[0] == model.backend.encode([text])[0]
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_vocabularies_do_not_mix(loaded: Callable[[Kind], LoadedModel]) -> None:
    cache, text = PrefixCache(LARGE), _prose(random.Random(5), 50_000)
    for kind in ("qwen", "tekken", "qwen", "tekken"):
        model = loaded(kind)
        assert _encode(cache, model, text)[0] == model.backend.encode([text])[0]


def test_without_cuts_a_text_is_one_piece() -> None:
    plan = PrefixCache(LARGE).plan(1, NO_CUTS, "word " * 50_000)
    assert (len(plan.missing), plan.cached_tokens) == (1, 0)


def test_equal_pieces_of_one_text_are_kept_once(loaded: Callable[[Kind], LoadedModel]) -> None:
    model, cache = loaded("qwen"), PrefixCache(LARGE)
    text = "abcdefg " * (4096 // 8) * 8  # repeats exactly at the piece length
    assert _encode(cache, model, text)[0] == model.backend.encode([text])[0]
    assert _encode(cache, model, text)[0] == model.backend.encode([text])[0]
    assert cache.size_bytes <= 12 * len(text)
