"""The ABI and its Python face: nothing missing, nothing unplanned, nothing stale."""

import re
from pathlib import Path

import pytest

import cabi
from cabi import records
from cabi._native import ffi, lib
from cabi.status import Status, status_name

HERE = Path(cabi.__file__).parent
HEADER = (HERE / "include" / "epp.h").read_text()
CDEF = HEADER.split("/* cdef: begin */")[1].split("/* cdef: end */")[0]
FUNCTIONS = re.findall(r"^\w[\w *]*?[ *](epp_\w+)\(", CDEF, re.MULTILINE)
SOURCES = sorted((HERE / "src").glob("*.[ch]"))


def test_the_public_names_are_these() -> None:
    assert sorted(cabi.__all__) == [
        "ABI_VERSION",
        "Ask",
        "CoreError",
        "EventBatch",
        "Options",
        "Request",
        "Router",
        "Rules",
        "Status",
        "Worker",
        "hash_blocks",
        "namespace_seed",
        "worker_id",
        "xxh3_64",
    ]
    assert all(hasattr(cabi, name) for name in cabi.__all__)


def test_the_extension_was_built_from_this_header() -> None:
    out = HERE / "generated" / "_native.c"
    if not out.exists():
        pytest.skip("installed from a wheel, without the sources")
    built = out.read_text()
    assert all(f"_cffi_d_{name}" in built for name in FUNCTIONS)


def test_abi_version_and_every_function_is_there() -> None:
    assert lib.epp_abi_version() == lib.EPP_ABI_VERSION == cabi.ABI_VERSION
    assert len(FUNCTIONS) >= 30
    for name in FUNCTIONS:
        assert callable(getattr(lib, name))


def test_the_stub_names_every_function() -> None:
    stub = (HERE / "_native.pyi").read_text()
    assert sorted(re.findall(r"def (epp_\w+)", stub)) == sorted(FUNCTIONS)


def test_every_function_is_documented_and_dated() -> None:
    for name in FUNCTIONS:
        before = CDEF[: re.search(rf"^\w.*\b{name}\(", CDEF, re.MULTILINE).start()]
        comment = before[before.rindex("/**") :]
        assert "Since ABI 1" in comment, name


@pytest.mark.parametrize("status", list(Status))
def test_statuses_agree_with_the_header(status: Status) -> None:
    name = f"EPP_{status.name}" if status == 0 or status >= 100 else f"EPP_E_{status.name}"
    assert getattr(lib, name) == status
    assert status_name(status) != status_name(-1) == "unknown status"


def test_enums_agree_with_the_header() -> None:
    for prefix, enum in (("POLICY", records.Policy), ("ROLE", records.Role), ("PHASE", records.Phase)):
        assert {member.name: member.value for member in enum} == {
            member.name: getattr(lib, f"EPP_{prefix}_{member.name}") for member in enum
        }
    assert all(flag == getattr(lib, f"EPP_REQUEST_{flag.name}") for flag in records.Ask)
    for number, reason in enumerate(records.IGNORED):
        assert getattr(lib, "EPP_IGNORED_" + reason.upper().replace("-", "_")) == number
    assert len(records.IGNORED) == lib.EPP_IGNORED_COUNT


def test_defaults_agree_with_the_library() -> None:
    options, worker = ffi.new("epp_options *"), ffi.new("epp_worker *")
    lib.epp_options_init(options)
    lib.epp_worker_init(worker)
    for name in records.Options.__slots__:
        assert getattr(records.Options(), name) == getattr(options, name)
    for name in set(records.Worker.__slots__) - {"taints"}:
        assert getattr(records.Worker(0), name) == getattr(worker, name)


def test_the_c_sources_do_not_print_exit_or_keep_globals() -> None:
    for path in SOURCES:
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(
            r"\b(printf|fprintf|puts|exit|abort|system|getenv|time|clock_gettime)\(", text
        ), path
        assert not re.search(r"^static (?!const|inline)[\w ]+\w+( =|;|\[)", text, re.MULTILINE), path
        allocators = r"\b(malloc|calloc|realloc|free)\("
        assert path.name == "memory.c" or not re.search(allocators, text), path
