"""The extension's C: short calls keep the interpreter lock, all others give it away."""

import re
from pathlib import Path

import pytest

from cabi import generate


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    out: Path = tmp_path_factory.mktemp("generated") / "_native.c"
    generate.main(str(out))
    return out.read_text(encoding="utf-8")


def test_exactly_the_short_calls_keep_the_lock(source: str) -> None:
    wrappers = re.findall(r"\n_cffi_f_(\w+)\(PyObject \*self.*?\n}\n", source, re.DOTALL)
    bodies = re.split(r"\n_cffi_f_\w+\(PyObject \*self", source)[1:]
    kept = {name for name, body in zip(wrappers, bodies, strict=True) if "PyEval_SaveThread" in body}
    given = {name for name, body in zip(wrappers, bodies, strict=True) if "Py_BEGIN_ALLOW_THREADS" in body}
    assert kept == set(generate.KEPT)
    assert kept.isdisjoint(given)
    assert {"epp_router_apply", "epp_router_dump", "epp_hash_blocks"} <= given


@pytest.mark.parametrize("function", ["epp_select_worker", "epp_select_and_reserve", "epp_router_measure"])
def test_questions_are_measured_by_their_tokens(source: str, function: str) -> None:
    header = Path(generate.__file__).with_name("include").joinpath("epp.h").read_text(encoding="utf-8")
    declared = re.search(rf"{function}\((.*?)\);", header, re.DOTALL)
    assert declared is not None
    assert declared[1].split(",")[3].strip() == "size_t n_tokens"
    assert "(x3 <= 4096) ? NULL : PyEval_SaveThread()" in source


def test_another_way_of_wrapping_is_noticed() -> None:
    for source in (
        "",
        "_cffi_f_f(PyObject *self) { f(); }\n_cffi_f_g(PyObject *self) Py_BEGIN_ALLOW_THREADS",
    ):
        with pytest.raises(ValueError, match="another way"):
            generate.keep_lock(source, "f", "1")


def test_a_header_without_markers_is_noticed() -> None:
    with pytest.raises(ValueError, match="cdef marker"):
        generate.cdef("void f(void);")
