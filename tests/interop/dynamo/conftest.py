"""Tests against Dynamo's own wheel, in a process of its own.

``EPP_DYNAMO_PYTHON`` names an interpreter with ``ai-dynamo-runtime==1.6.1`` installed;
``EPP_DYNAMO_SCALE`` (default 1) multiplies how much is compared: 30 compares millions of blocks.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .oracle import Oracle

_PYTHON = "EPP_DYNAMO_PYTHON"
_TIMEOUT_S = 120.0
_SEEN = pytest.StashKey[dict[str, Counter[str]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need the wheel, and time in proportion."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.dynamo)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S * _scale()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was compared, and which differences were met."""
    for name, counts in config.stash.get(_SEEN, {}).items():
        terminalreporter.write_line(f"{name}: {', '.join(f'{what} {n}' for what, n in counts.items())}")


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[Counter[str]], None]:
    """Takes what a test counted, for the end of the report."""
    seen = request.config.stash.setdefault(_SEEN, {})
    return lambda counts: seen.setdefault(request.node.name, Counter()).update(counts)


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times the default amount to compare."""
    return _scale()


@pytest.fixture(scope="session")
def dynamo_python() -> str:
    """The interpreter that has the wheel."""
    python = os.environ.get(_PYTHON)
    if not python:
        (pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip)(f"{_PYTHON} is not set")
    return python


@pytest.fixture(scope="session")
def oracle(dynamo_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """The wheel with its defaults."""
    with Oracle(dynamo_python, tmp_path_factory.mktemp("oracle") / "log") as child:
        yield child


def _scale() -> int:
    return max(1, int(os.environ.get("EPP_DYNAMO_SCALE", "1")))
