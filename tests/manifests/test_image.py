"""The image's recipe, as far as it can be checked without a container engine."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.manifests.envoy_files import MANIFESTS

ROOT = MANIFESTS.parent
DOCKERFILE = MANIFESTS / "image" / "Dockerfile"
IGNORED = MANIFESTS / "image" / "Dockerfile.dockerignore"
_PIN = re.compile(
    r"^([A-Za-z0-9_.-]+)==([^ \\;]+)(.*?)\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE
)


def _instructions() -> list[tuple[str, str]]:
    """Instruction and arguments, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def _pins(name: str) -> dict[str, str]:
    return {match[1].lower(): match[2] for match in _PIN.finditer((ROOT / "requirements" / name).read_text())}


def _named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower() for requirement in requirements}


def test_hadolint() -> None:
    argv = [str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


def test_one_base_that_can_be_pinned() -> None:
    instructions = _instructions()
    assert instructions[0][0] == "ARG"
    assert instructions[0][1].startswith("BASE=")
    assert {rest.split()[0] for name, rest in instructions if name == "FROM"} == {"${BASE}"}
    assert not re.search(r"amd64|arm64|x86_64|aarch64", "\n".join(rest for _, rest in instructions))


def test_what_runs_has_no_rights_and_no_tools() -> None:
    instructions = _instructions()
    last = instructions[max(i for i, (name, _) in enumerate(instructions) if name == "FROM") :]
    assert ("USER", "65532:65532") in last
    assert ("ENTRYPOINT", '["epp"]') in last
    assert not [rest for name, rest in last if name in ("RUN", "ADD")]


def test_pip_installs_nothing_unhashed() -> None:
    commands = [command for name, rest in _instructions() if name == "RUN" for command in rest.split("&&")]
    installs = [command for command in commands if "pip " in command and " install " in command]
    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes" in command or {"--no-index", "--no-deps"} <= set(command.split())


def test_what_is_copied_exists_and_is_let_through() -> None:
    allowed = {line[1:] for line in IGNORED.read_text().splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for name, rest in _instructions() if name == "COPY" and "--from" not in rest]
    sources = {source for sources in copied for source in sources}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize(("name", "extras"), [("runtime.txt", ("hub", "otel")), ("build.txt", ())])
def test_pins_are_those_that_are_tested(name: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = project["build-system"]["requires"] if not extras else project["project"]["dependencies"]
    for extra in extras:
        asked = [*asked, *project["project"]["optional-dependencies"][extra]]
    pins, tested = _pins(name), _pins("dev.txt")
    assert _named(asked) <= set(pins), "make lock"
    assert {package: tested.get(package) for package in pins} == pins, "make lock"
    assert len(pins) == (ROOT / "requirements" / name).read_text().count("==") - _markers(name)


def _markers(name: str) -> int:
    """Comparisons in environment markers."""
    return len(re.findall(r"==\s*'", (ROOT / "requirements" / name).read_text()))


@pytest.mark.parametrize("name", ["dev.txt", "runtime.txt", "build.txt"])
def test_no_host_is_named(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text() + DOCKERFILE.read_text()
    assert "://" not in text
    assert not fnmatch.filter(text.split(), "*index?url*")
