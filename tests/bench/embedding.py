"""``make bench BENCH=embedding``: libepp_request in a C program: start-up, and calls on three sizes of body.

Eight workers without events, so every prompt becomes resident where it is sent and the calls measured are
warm, as in a conversation: the bodies are sent a thousand times each. Figures are medians of wall time seen
by the calling thread.
"""

import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from cabi.embedding.build import build
from epp.testing.vocab import cached_model_dir
from tests.bench.tokenize import prose, vocabulary

_MODEL = "qwen"
_BODY_BYTES = (1_000, 16_000, 220_000)
_WORKERS = 8


def main() -> int:
    """Build, run, print JSON lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        program = _compile(folder)
        bodies = [_body(folder, size) for size in _BODY_BYTES]
        done = subprocess.run(
            [program, _config(folder), *bodies], stdout=subprocess.PIPE, text=True, check=True
        )
    for line in done.stdout.splitlines():
        figure, value, unit = line.split()
        sys.stdout.write(json.dumps({"name": figure, "value": float(value), "unit": unit}) + "\n")
    return 0


def _compile(folder: Path) -> Path:
    program = folder / "embedding"
    source = Path(__file__).with_name("embedding.c")
    library = [f"-I{folder}/include", f"-L{folder}/lib", "-lepp_request", f"-Wl,-rpath,{folder}/lib"]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-std=gnu11", "-O2", str(source), *library, "-o", str(program)], check=True)
    return program


def _config(folder: Path) -> Path:
    model = cached_model_dir(Path(tempfile.gettempdir()) / "epp-bench-models", "qwen")
    endpoints = [{"name": f"w{i}", "address": f"10.0.0.{i + 1}", "port": 8000} for i in range(_WORKERS)]
    config = {
        "endpoints": endpoints,
        "tokenize": {"models": [{"name": _MODEL, "path": str(model)}]},
        "scrape": {"enabled": False},
        "events": {"enabled": False},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def _body(folder: Path, size_bytes: int) -> Path:
    rng = random.Random(size_bytes)
    text = prose(rng, vocabulary(rng, 2000), size_bytes)
    path = folder / f"{size_bytes}.json"
    path.write_text(json.dumps({"model": _MODEL, "messages": [{"role": "user", "content": text}]}))
    return path
