"""Write the Python extension's C from ``include/epp.h``: the header is the only source of truth.

``python generate.py OUT`` is run by CMake at every build. What Python sees is the part of the header between
the two ``cdef`` markers.

cffi releases the interpreter lock around every call. Threads that want it then wake each other up at every
call, which takes longer than a short one: two threads with short questions were half as fast as one. So short
calls keep the lock; long ones release it, and run side by side.
"""

import sys
from pathlib import Path
from typing import Final

import cffi

_HEADER = Path(__file__).parent / "include" / "epp.h"
_BEGIN = "/* cdef: begin */"
_END = "/* cdef: end */"
_RELEASE: Final = "Py_BEGIN_ALLOW_THREADS"
_TAKE_BACK: Final = "Py_END_ALLOW_THREADS"
_FEW_TOKENS: Final = "x3 <= 4096"
"""``n_tokens``, by its place among the parameters: prompts that are looked up in less than 10 µs."""
KEPT: Final = {
    "epp_select_worker": _FEW_TOKENS,
    "epp_select_and_reserve": _FEW_TOKENS,
    "epp_router_measure": _FEW_TOKENS,
    "epp_router_prefill_complete": "1",
    "epp_router_output_block": "1",
    "epp_router_renew": "1",
    "epp_router_end_booking": "1",
    "epp_router_set_load": "1",
    "epp_namespace_seed": "1",
}
"""Calls that keep the interpreter lock, and when: an expression over cffi's names of the parameters."""


def cdef(header: str) -> str:
    """The part of the header that bindings see; raises ValueError if a marker is missing."""
    _, begin, rest = header.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    if not begin or not end:
        raise ValueError("epp.h has lost a cdef marker")
    return text


def keep_lock(source: str, function: str, when: str) -> str:
    """Cffi's wrapper of a function, releasing the interpreter lock only unless ``when``.

    Raises ValueError if the source is not written as this expects.
    """
    before, wrapper, rest = source.partition(f"_cffi_f_{function}(PyObject *self")
    head, release, rest = rest.partition(_RELEASE)
    call, take_back, rest = rest.partition(_TAKE_BACK)
    if not (wrapper and release and take_back) or "PyObject *self" in head + call:
        raise ValueError(f"cffi wraps {function} in another way")
    begin = f"{{ PyThreadState *kept = ({when}) ? NULL : PyEval_SaveThread();"
    end = "if (kept) PyEval_RestoreThread(kept); }"
    return f"{before}{wrapper}{head}{begin}{call}{end}{rest}"


def main(out: str) -> None:
    """Write the C source of ``cabi._native`` to ``out``."""
    ffi = cffi.FFI()
    ffi.cdef(cdef(_HEADER.read_text(encoding="utf-8")))
    ffi.set_source("cabi._native", '#include "epp.h"', py_limited_api=True)
    ffi.emit_c_code(out)
    written = Path(out)
    source = written.read_text(encoding="utf-8")
    for function, when in KEPT.items():
        source = keep_lock(source, function, when)
    written.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
