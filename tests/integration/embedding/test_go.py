"""The Go face of the library, by its own tests."""

from pathlib import Path

import pytest

from tests.integration.embedding.conftest import ROOT, run

CABI = ROOT / "cabi"
_COLD_S = 570.0
"""A machine that never did compiles Go's standard library first."""
pytestmark = pytest.mark.timeout(_COLD_S + 30)


def test_the_go_package_passes_its_tests(prefix: Path, go: str) -> None:
    library = prefix / "lib" / "libepp_request.so"
    argv = [go, "test", "-count=1", "./go/request/"]
    done = run(argv, cwd=CABI, deadline_s=_COLD_S, EPP_REQUEST_LIBRARY=str(library), EPP_REQUIRE_ALL="1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_library_that_is_not_there_is_an_error(go: str, tmp_path: Path) -> None:
    """Building needs neither the library nor Python; running says what is missing."""
    program = tmp_path / "main.go"
    program.write_text(
        'package main\n\nimport (\n\t"errors"\n\t"os"\n\n'
        '\t"github.com/llm-endpoint-picker/epp/cabi/go/request"\n)\n\n'
        'func main() {\n\t_, err := request.Open("")\n\tos.Stdout.WriteString(err.Error())\n'
        "\tif !errors.Is(err, request.ErrLibrary) {\n\t\tos.Exit(1)\n\t}\n}\n"
    )
    library = str(tmp_path / "none.so")
    done = run([go, "run", program], cwd=CABI, deadline_s=_COLD_S, EPP_REQUEST_LIBRARY=library)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none.so" in done.stdout
    assert "EPP_REQUEST_LIBRARY names it" in done.stdout


def test_go_code_is_formatted_and_vetted(go: str) -> None:
    gofmt = Path(go).resolve().with_name("gofmt")
    folders = [CABI / "go" / "request", *(ROOT / "docs" / "examples").glob("go-*")]
    done = run([gofmt, "-l", *folders])
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    done = run([go, "vet", "./go/request/"], cwd=CABI, deadline_s=_COLD_S)
    assert done.returncode == 0, done.stderr
