"""libepp_request as its hosts meet it: linked, loaded late, inside a Python, without its Python."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from epp.embedding.status import Status
from tests.integration.embedding.conftest import ROOT, run

HERE = Path(__file__).parent
HEADER = (ROOT / "cabi" / "include" / "epp_request.h").read_text()
OPEN_ONCE = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
library.epp_request_status_name.restype = ctypes.c_char_p
picker, error = ctypes.c_uint64(0), ctypes.create_string_buffer(512)
config = b'{"endpoints": [{"name": "a", "address": "10.0.0.1", "port": 1}], "scrape": {"enabled": false}}'
def call(name, *arguments):
    status = getattr(library, "epp_request_" + name)(*arguments, error, ctypes.c_size_t(512))
    return [library.epp_request_status_name(status).decode(), error.value.decode()]
opened = call("open", config, ctypes.c_size_t(len(config)), ctypes.byref(picker))
ready = call("wait_ready", picker, ctypes.c_double(10.0)) if picker.value else None
print(json.dumps({"opened": opened, "ready": ready, "number": picker.value}))
"""


def test_a_linked_c_program_finds_the_whole_contract(compiled: Callable[..., Path]) -> None:
    done = run([compiled(HERE / "contract.c", link=True)])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_it_works_where_the_environment_speaks_of_another_python(compiled: Callable[..., Path]) -> None:
    program = compiled(HERE / "contract.c", link=True)
    done = run([program], PYTHONHOME="/nowhere", PYTHONPATH="/nowhere", LANG="C", LC_ALL="C")
    assert done.returncode == 0, done.stderr


def test_a_python_that_is_not_there_is_a_status(prefix: Path, tmp_path: Path, cc: str) -> None:
    source = tmp_path / "open.c"
    source.write_text(
        '#include "epp_request.h"\n#include <stdio.h>\n'
        'int main(void) { epp_request_picker p; char e[512] = "";\n'
        'printf("%d", epp_request_open("", 0, &p, e, sizeof e)); puts(e); return 0; }\n'
    )
    program = tmp_path / "open"
    library = [f"-L{prefix}/lib", "-lepp_request", f"-Wl,-rpath,{prefix}/lib"]
    built = run([cc, f"-I{prefix}/include", source, *library, "-o", program])
    assert built.returncode == 0, built.stderr
    done = run([program], EPP_PYTHON_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{int(Status.PYTHON)}Python ")
    assert str(tmp_path) in done.stdout
    assert "EPP_PYTHON_HOME" in done.stdout


@pytest.mark.parametrize("isolated", [False, True], ids=["with packages", "without packages"])
def test_a_host_that_runs_python_itself(prefix: Path, tmp_path: Path, *, isolated: bool) -> None:
    flags = ["-S", "-I"] if isolated else []
    script = tmp_path / "host.py"
    script.write_text(OPEN_ONCE)
    done = run([sys.executable, *flags, script, prefix / "lib" / "libepp_request.so"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip() == '{"opened": ["ok", ""], "ready": ["ok", ""], "number": 1}'


def test_the_build_says_where_it_put_the_library(tmp_path: Path, prefix: Path) -> None:
    done = run([sys.executable, "-m", "cabi.embedding.build", "--out", tmp_path, "--no-rpath"])
    assert done.returncode == 0, done.stderr
    library = tmp_path / "lib" / "libepp_request.so"
    assert done.stdout == f"{library}\n"
    assert library.resolve().name == "libepp_request.so.1"
    assert (tmp_path / "include" / "epp_request.h").read_text() == HEADER


def test_a_build_without_a_compiler_says_so(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "cabi.embedding.build", "--out", tmp_path], CC="no-such-compiler")
    assert done.returncode == 1
    assert "no-such-compiler" in done.stderr


def test_pkg_config_knows_it(prefix: Path) -> None:
    text = (prefix / "lib" / "pkgconfig" / "epp_request.pc").read_text()
    assert "Version: 1\n" in text
    assert "Libs: -L${libdir} -lepp_request\n" in text


def test_only_what_the_header_says_is_exported(prefix: Path) -> None:
    done = run(["nm", "--dynamic", "--defined-only", prefix / "lib" / "libepp_request.so"])
    assert done.returncode == 0, done.stderr
    exported = {line.split()[-1] for line in done.stdout.splitlines()} - {"PyInit__epp_request"}
    declared = set(re.findall(r"^EPP_REQUEST_API [^(]*?(epp_request_\w+)\(", HEADER, re.MULTILINE))
    assert exported == declared
    assert len(declared) == 13


def test_the_statuses_are_those_of_the_header() -> None:
    pinned = re.findall(
        r"^    EPP_REQUEST_(?:E_)?(\w+) = (\d+)", HEADER.partition("} epp_request_status;")[0], re.MULTILINE
    )
    assert {name: int(number) for name, number in pinned} == {s.name: s.value for s in Status}


def test_both_headers_go_together_in_c_and_cpp(prefix: Path, tmp_path: Path, cc: str) -> None:
    for suffix, language in (("c", "c11"), ("cpp", "c++17")):
        source = tmp_path / f"both.{suffix}"
        source.write_text(
            '#include "epp.h"\n#include "epp_request.h"\nepp_request_text t = EPP_REQUEST_TEXT("x");\n'
        )
        if suffix == "c":
            source.write_text(source.read_text().replace('EPP_REQUEST_TEXT("x")', "{0, 0}"))
        strict = [f"-std={language}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        done = run([cc, *strict, f"-I{ROOT}/cabi/include", source])
        assert done.returncode == 0, done.stderr
