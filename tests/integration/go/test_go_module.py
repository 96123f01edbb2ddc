"""The Go face, as its authors and its users build it: from the checkout, by ``go get``, and vendored."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import CABI, DEADLINE_S, ROOT, Go, missing

MODULE = "github.com/llm-endpoint-picker/epp/cabi"
SAYS = "to pod-b: true\ncached: 8 of 12\n"
"""What the program of the guide prints."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(DEADLINE_S + 60)]


def program(language: str) -> str:
    """The guide's one program in a language."""
    guide = (CABI / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    return str(found)


def copy_module(to: Path) -> Path:
    """What a repository would hold of the module, and nothing that was built beside it."""
    for folder, pattern in (("", "go.mod"), ("", "README.md"), ("go", "*"), ("include", "*"), ("src", "*")):
        (to / folder).mkdir(parents=True, exist_ok=True)
        for file in (CABI / folder).glob(pattern):
            if file.is_file():
                shutil.copy(file, to / folder)
    return to


# --- in the checkout ------------------------------------------------------------------------------------


def test_vet_has_no_complaint(go: Go) -> None:
    assert not go(["go", "vet", "./..."], CABI)


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        pytest.param((), {}, id="plain"),
        pytest.param(("-race",), {"GOEXPERIMENT": "cgocheck2", "GODEBUG": "cgocheck=1"}, id="race-cgocheck"),
        pytest.param(("-asan",), {}, id="asan"),
    ],
)
def test_its_own_tests_pass(go: Go, flags: tuple[str, ...], environ: dict[str, str]) -> None:
    lines = go(["go", "test", "-json", "-count=1", "-vet=off", *flags, "./go"], CABI, **environ).splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    ended = {
        event["Test"]: event["Action"]
        for event in events
        if event["Action"] in {"pass", "skip"} and "Test" in event
    }
    assert ended["TestBlockHashesAreTheGoldenOnes"] == "pass"
    assert "skip" not in ended.values(), "the golden vectors are in the checkout"


def test_each_benchmark_runs(go: Go) -> None:
    said = go(["go", "test", "-run", "^$", "-bench", ".", "-benchtime", "1x", "./go"], CABI)
    read_by_the_bench = {"Select/8192_tokens_64_workers", "SelectParallel", "ReserveAndFree", "ApplyFlat"}
    assert read_by_the_bench | {"ApplyMsgpack"} <= set(re.findall(r"^Benchmark([\w/]+)", said, re.MULTILINE))


def test_the_pages_of_go_doc(go: Go) -> None:
    said = go(["go", "doc", "-all", "./go"], CABI)
    for name in (
        "type Router struct",
        "func NewRouter(options Options)",
        "ErrUnknownBooking",
        "const ABIVersion",
    ):
        assert name in said


# --- elsewhere ------------------------------------------------------------------------------------------


def test_a_copy_outside_the_checkout_skips_the_golden_vectors(go: Go, tmp_path: Path) -> None:
    said = go(["go", "test", "-v", "-run", "Golden", "./go"], copy_module(tmp_path / "cabi"))
    assert said.count("--- SKIP") == 2
    assert "--- FAIL" not in said


def test_a_consumer_by_replacement(go: Go, tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(program("go"), encoding="utf-8")
    go(["go", "mod", "init", "example.test/consumer"], tmp_path)
    go(["go", "mod", "edit", f"-require={MODULE}@v0.0.0", f"-replace={MODULE}={CABI}"], tmp_path)
    assert go(["go", "run", "."], tmp_path) == SAYS


@pytest.fixture
def published(tmp_path: Path) -> dict[str, str]:
    """Surroundings in which the module's own address leads to a repository with a released version."""
    if shutil.which("git") is None:
        missing("no git")
    repository = tmp_path / "repository"
    copy_module(repository / "cabi")
    shutil.copy(ROOT / "LICENSE", repository)
    address = f"https://{MODULE.removesuffix('/cabi')}"
    environ = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
        **{f"GIT_{who}_{what}": "tester" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    for argv in (["init", "-q"], ["add", "."], ["commit", "-qm", "release"], ["tag", "cabi/v0.1.0"]):
        subprocess.run(
            ["git", *argv], cwd=repository, env={**os.environ, **environ}, check=True, timeout=DEADLINE_S
        )
    direct = {"GOPROXY": "direct", "GOPRIVATE": "*", "GOFLAGS": "-buildvcs=false -modcacherw"}
    return {**environ, **direct, "GOMODCACHE": str(tmp_path / "fetched")}


def test_a_consumer_by_go_get_that_vendors(go: Go, tmp_path: Path, published: dict[str, str]) -> None:
    consumer = tmp_path / "consumer"
    consumer.mkdir()
    (consumer / "main.go").write_text(program("go"), encoding="utf-8")
    go(["go", "mod", "init", "example.test/consumer"], consumer)
    go(["go", "get", f"{MODULE}@v0.1.0"], consumer, **published)
    go(["go", "mod", "vendor"], consumer, **published)
    vendored = consumer / "vendor" / MODULE
    assert (vendored / "include" / "epp.h").read_bytes() == (CABI / "include" / "epp.h").read_bytes()
    assert {file.name for file in (vendored / "src").iterdir()} >= {
        file.name for file in (CABI / "src").iterdir()
    }
    shutil.rmtree(published["GOMODCACHE"])
    nothing_else = {"GOMODCACHE": str(tmp_path / "nothing")}
    assert go(["go", "run", "-mod=vendor", "."], consumer, **nothing_else) == SAYS
    go(["go", "vet", "-mod=vendor", "./..."], consumer, **nothing_else)


def test_the_c_program_of_the_guide(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("no C compiler")
    assert compiler is not None
    (tmp_path / "app.c").write_text(program("c"), encoding="utf-8")
    sources = sorted(str(file) for file in (CABI / "src").glob("*.c"))
    strict = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{CABI / 'include'}"]
    argv = [
        compiler,
        *strict,
        str(tmp_path / "app.c"),
        *sources,
        "-lm",
        "-pthread",
        "-o",
        str(tmp_path / "app"),
    ]
    subprocess.run(argv, check=True, timeout=DEADLINE_S)
    said = subprocess.run([tmp_path / "app"], capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    assert said.stdout == "to pod-a: 1, uncached tokens: 12\n"
