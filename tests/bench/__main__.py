"""``make bench BENCH=…``: run one bench; JSON lines on standard output, one object per figure."""

import importlib
import inspect
import sys

import uvloop

_BENCHES = {
    "core": "tests.bench.core",
    "picker": "tests.bench.picker",
    "pick": "tests.bench.pick",
    "frontend": "tests.bench.frontend",
    "segments": "tests.bench.segments",
    "idle": "tests.bench.idle",
    "pods": "tests.bench.pods",
    "tokenize": "tests.bench.tokenize",
    "policy": "tests.bench.policy",
    "embedding": "tests.bench.embedding",
    "dynamo": "tests.bench.dynamo",
}
"""Name → module with ``main()``; see each module's first lines for what it measures and its arguments."""


def run(argv: list[str]) -> int:
    """Run the bench named first; the other arguments are its own."""
    if not argv or argv[0] not in _BENCHES:
        print(f"BENCH is one of: {', '.join(_BENCHES)}", file=sys.stderr)
        return 2
    module = importlib.import_module(_BENCHES[argv[0]])
    sys.argv = [f"bench {argv[0]}", *argv[1:]]
    result = module.main()
    if inspect.iscoroutine(result):
        result = uvloop.run(result)
    return int(result or 0)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
