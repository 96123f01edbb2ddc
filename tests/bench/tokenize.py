"""What tokenization costs: ``python -m tests.bench.tokenize`` prints one JSON object per line.

Each case is a chat of a system message and one long user message; ``shared`` is the fraction of it that
earlier requests had as their beginning, the rest is new in every request. CPU time counts all threads.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from epp.config.model import ModelConfig, TokenizeConfig
from epp.core.requests import ChatPrompt
from epp.testing.vocab import Kind, cached_model_dir
from epp.tokenize import NullMetrics, TokenizerService

_CASES = (
    (1_000, 0.0),
    (16_000, 0.0),
    (16_000, 0.9),
    (220_000, 0.0),
    (220_000, 0.9),
    (430_000, 0.0),
    (430_000, 0.95),
)


def vocabulary(rng: random.Random, count: int) -> list[str]:
    """Made-up words of one to four syllables."""
    syllables = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "st", "l")]
    return ["".join(rng.choices(syllables, k=rng.choice((1, 2, 2, 3, 4)))) for _ in range(count)]


def prose(rng: random.Random, words: list[str], size: int) -> str:
    """English-like text: words with a long tail, sentences, paragraphs, some numbers and quotes."""
    parts: list[str] = []
    length = 0
    while length < size:
        word = words[int(len(words) * rng.random() ** 2.5)]
        roll = rng.random()
        end = ".\n\n" if roll < 0.01 else ". " if roll < 0.06 else ", " if roll < 0.14 else " "
        part = f"{rng.randrange(3000)} " if roll > 0.99 else f'"{word}" ' if roll > 0.98 else word + end
        parts.append(part)
        length += len(part)
    return "".join(parts)[:size]


def _chat(text: str) -> ChatPrompt:
    system = {"role": "system", "content": "You are a careful assistant. Answer briefly."}
    return ChatPrompt([system, {"role": "user", "content": text}])


def _prompts(rng: random.Random, words: list[str], size: int, shared: float) -> Iterator[ChatPrompt]:
    head = prose(rng, words, int(size * shared))
    while True:
        yield _chat(head + prose(rng, words, size - len(head)))


async def _measure(
    service: TokenizerService, prompts: Iterator[ChatPrompt], rounds: int
) -> tuple[float, float, int]:
    wall: list[float] = []
    cpu: list[float] = []
    tokens = 0
    for turn in range(rounds + 2):
        prompt = next(prompts)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        result = await service.tokenize("model", prompt)
        if turn >= 2:  # the first two fill the cache and the allocator
            wall.append(time.perf_counter() - wall_s)
            cpu.append(time.process_time() - cpu_s)
        tokens = result.prompt_tokens
        assert result.degraded is None, result.degraded
    return statistics.median(wall) * 1e6, statistics.median(cpu) * 1e6, tokens


async def run(kind: Kind, rounds: int, emit: Callable[[dict[str, object]], None]) -> None:
    """Measure every case and ``emit`` two records for each."""
    folder = cached_model_dir(Path(tempfile.gettempdir()) / "epp-vocabularies", kind)
    service = TokenizerService(TokenizeConfig(models=(ModelConfig("model", str(folder)),)), NullMetrics())
    await service.start()
    await service.tried()
    rng = random.Random(7)
    words = vocabulary(rng, 30_000)
    for size, shared in _CASES:
        wall_us, cpu_us, tokens = await _measure(service, _prompts(rng, words, size, shared), rounds)
        share = f"{round(shared * 100)}pct_shared" if shared else "cold"
        name = f"tokenize_{kind}_{size // 1000}k_{share}"
        emit({"name": name, "value": round(wall_us, 1), "unit": "us", "tokens": tokens})
        emit({"name": f"{name}_cpu", "value": round(cpu_us, 1), "unit": "us", "tokens": tokens})
    await service.close()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("qwen", "tekken"), default="qwen")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    def emit(record: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()

    asyncio.run(run(options.kind, options.rounds, emit))


if __name__ == "__main__":
    main()
