"""The example programs, built as their readers build them."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from epp.testing.envoy import EnvoyError, EnvoyProcess, find_envoy
from epp.testing.envoy_config import BodyModeName, EnvoyOptions
from epp.testing.process import ChildProcess
from epp.testing.vocab import build_model_dir
from tests.integration.embedding.conftest import EXAMPLES, missing, run

MODEL = "m"
ENGINES = 2
CLAUSES = " ".join(f"Clause {number} says nothing new." for number in range(120))
BUILD_DEADLINE_S = 570.0


def test_a_c_program_of_the_native_core(cc: str, tmp_path: Path) -> None:
    folder = EXAMPLES / "c-select"
    sources = sorted((EXAMPLES.parents[1] / "cabi" / "src").glob("*.c"))
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{EXAMPLES.parents[1]}/cabi/include"]
    program = tmp_path / "select"
    done = run([cc, *strict, folder / "select.c", *sources, "-lm", "-lpthread", "-o", program])
    assert done.returncode == 0, done.stderr
    done = run([program])
    assert done.stdout.splitlines() == [
        "the second worker holds 4 blocks",
        "second worker, 64 of 70 prompt tokens cached",
    ]
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_scorer_for_the_go_framework(go: str, tmp_path: Path) -> None:
    """Compiles the framework too: minutes on a machine that never did."""
    for argv in ([go, "test", "-count=1", "./kvscorer"], [go, "build", "-o", tmp_path, "."]):
        done = run(argv, cwd=EXAMPLES / "go-scorer-plugin", deadline_s=BUILD_DEADLINE_S)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_go_picker_behind_envoy_keeps_prompts_where_they_are_cached(
    prefix: Path, go: str, tmp_path: Path
) -> None:
    _require_envoy()
    program = tmp_path / "go-extproc"
    argv = [go, "build", "-o", program, "."]
    built = run(argv, cwd=EXAMPLES / "go-extproc", deadline_s=BUILD_DEADLINE_S)
    assert built.returncode == 0, built.stderr
    async with _stage(program, prefix, tmp_path) as client:
        assert await _sticks(client)
        assert await _spreads(client)
        bad = await client.post("/v1/chat/completions", content=b"{")
        assert bad.status_code == 400
        assert bad.json()["error"]["type"] == "invalid_request_error"
        models = await client.get("/v1/models")
        assert models.status_code == 200


def _require_envoy() -> None:
    try:
        find_envoy()
    except EnvoyError as error:
        missing(str(error))


@asynccontextmanager
async def _stage(program: Path, prefix: Path, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Two simulated engines, the Go picker, Envoy, and a client of Envoy's."""
    model_path = build_model_dir(folder / "model", "tiny")
    endpoints = folder / "endpoints.yaml"
    config = folder / "picker.yaml"
    config.write_text(
        json.dumps(
            {
                "discovery": {"endpoints_file": str(endpoints)},
                "tokenize": {"models": [{"name": MODEL, "path": str(model_path)}]},
                "scrape": {"interval_s": 0.2},
                "routing": {"policy": "kv"},  # which shares cold prompts out evenly, so that they spread
            }
        )
    )
    async with (
        _engines(folder, model_path, endpoints),
        _picker(program, prefix, folder, config) as picker,
        EnvoyProcess(
            EnvoyOptions(pickers=[int(picker.ready["grpc_port"])], request_body=BodyModeName.BUFFERED)
        ) as envoy,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{envoy.port}", timeout=60) as client,
    ):
        yield client


def _engines(folder: Path, model_path: Path, endpoints: Path) -> ChildProcess:
    flags = [
        "--engines",
        str(ENGINES),
        "--model-name",
        MODEL,
        "--model-path",
        model_path,
        "--endpoints-file",
        endpoints,
    ]
    fast = ["--prefill-tokens-per-s", "200000", "--decode-tokens-per-s", "2000"]
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    argv = [sys.executable, "-m", "epp.testing.engine", *flags, *fast]
    return ChildProcess("engines", argv, folder / "engines.log", environment=quiet)


def _picker(program: Path, prefix: Path, folder: Path, config: Path) -> ChildProcess:
    library = {"EPP_REQUEST_LIBRARY": str(prefix / "lib" / "libepp_request.so")}
    argv = [program, "-config", config]
    return ChildProcess("go-extproc", argv, folder / "picker.log", environment={**os.environ, **library})


async def _sticks(client: httpx.AsyncClient) -> bool:
    """Whether questions on a document go where it is cached. The worker's events race the first of them, so
    there are several tries; by chance alone nine requests meet in one place once in 256."""
    for document in ("First", "Second", "Third", "Fourth", "Fifth", "Sixth"):
        answers = [await _ask(client, f"{document}. {CLAUSES} Is this {n}?") for n in range(9)]
        if len({server for server, _ in answers}) == 1 and all(cached for _, cached in answers[1:]):
            return True
    return False


async def _spreads(client: httpx.AsyncClient) -> bool:
    """Whether what is cached nowhere goes everywhere."""
    seen: set[str] = set()
    for number in range(40):
        server, _ = await _ask(client, f"Alone {number}. {CLAUSES}")
        seen.add(server)
    return len(seen) == ENGINES


async def _ask(client: httpx.AsyncClient, content: str) -> tuple[str, int]:
    """Who answered, and how many prompt tokens it had in its cache."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 1}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    details = answer.json()["usage"]["prompt_tokens_details"]
    return answer.headers["x-served-by"], details["cached_tokens"]
