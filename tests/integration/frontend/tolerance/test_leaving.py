"""A client that leaves stops what was done for it, wherever its request is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.frontend.conftest import MODEL, Front, Site, until
from tests.integration.frontend.tolerance.workers import Worker, asking, metrics, tokens_known, working

CHAT = "/v1/chat/completions"
SLOW = (
    *("--prefill-tokens-per-s", "80", "--decode-tokens-per-s", "10"),
    *("--max-num-seqs", "8", "--max-num-batched-tokens", "16"),  # small steps: one that began goes to its end
)
"""A prompt of 4000 tokens takes fifty seconds, an answer of 1000 tokens twice as long."""
SOON_S = 25.0
"""Far less than any of these requests would take; stopping takes milliseconds."""

WAYS = {
    "engine": ("--migration-limit", "3"),
    "frontend": ("--migration-limit", "3", "--postprocess", "frontend"),
    "plain": (),
}


@pytest.fixture(scope="module")
def engine(site: Site, tiny_model: Path) -> Iterator[Worker]:
    worker = Worker("slow", site.folder, tiny_model, SLOW)
    with working(worker):
        yield worker


@pytest.fixture(scope="module", params=WAYS)
def fronted(request: pytest.FixtureRequest, site: Site, tiny_model: Path, engine: Worker) -> Iterator[Front]:
    flags = ("--model-path", str(tiny_model), "--model-name", MODEL, *WAYS[request.param])
    front = site.frontend(site.endpoints(engine.entry()), *flags).listed().serves()
    until(lambda: tokens_known(front), "the model's tokenizer")
    yield front
    front.child.stop()


def body(words: int = 3, **more: Any) -> dict[str, Any]:
    text = " ".join(f"w{number}" for number in range(words))
    asked = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 1000}
    return asked | {"ignore_eos": True, **more}


def cancelled(front: Front) -> float:
    return sum(metrics(front.http, "model_cancellation_total").values())


def at_rest(engine: Worker) -> bool:
    return engine.load() == (0, 0)


def test_while_a_prefill_worker_computes(site: Site, tiny_model: Path) -> None:
    prefill, decode = (
        Worker(f"slow-{role}", site.folder, tiny_model, SLOW, role) for role in ("prefill", "decode")
    )
    with working(prefill, decode):
        front = site.frontend(site.endpoints(prefill.entry(), decode.entry())).listed().serves()
        with asking(front, body(1000)):
            until(lambda: prefill.load() == (1, 0), "the prompt is computed")
        until(lambda: at_rest(prefill), "stopped", SOON_S)
        until(lambda: cancelled(front) == 1, "counted")
        assert at_rest(decode)
        front.child.stop()


def test_while_a_stream_runs(fronted: Front, engine: Worker) -> None:
    before = cancelled(fronted)
    with fronted.http.stream("POST", CHAT, json=body(stream=True)) as answer:
        lines = answer.iter_lines()  # dropped, it would close the connection
        next(lines)
        until(lambda: engine.load() == (1, 0), "running")
    until(lambda: at_rest(engine), "stopped", SOON_S)
    until(lambda: cancelled(fronted) == before + 1, "counted")


@pytest.mark.parametrize("words", [3, 1000])
@pytest.mark.parametrize("stream", [True, False])
def test_before_an_answer(fronted: Front, engine: Worker, words: int, stream: bool) -> None:
    """With few words an answer that comes whole is being made, with many the prompt is computed."""
    before = cancelled(fronted)
    with asking(fronted, body(words, stream=stream)):
        until(lambda: engine.load() == (1, 0), "running")
    until(lambda: at_rest(engine), "stopped", SOON_S)
    until(lambda: cancelled(fronted) == before + 1, "counted")
