"""Write the Python extension's C from ``include/epp.h``: the header is the only source of truth.

``python generate.py OUT`` is run by CMake at every build. What Python sees is the part of the header between
the two ``cdef`` markers.
"""

import sys
from pathlib import Path

import cffi

_HEADER = Path(__file__).parent / "include" / "epp.h"
_BEGIN = "/* cdef: begin */"
_END = "/* cdef: end */"


def cdef(header: str) -> str:
    """The part of the header that bindings see; raises ValueError if a marker is missing."""
    _, begin, rest = header.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    if not begin or not end:
        raise ValueError("epp.h has lost a cdef marker")
    return text


def main(out: str) -> None:
    """Write the C source of ``cabi._native`` to ``out``."""
    ffi = cffi.FFI()
    ffi.cdef(cdef(_HEADER.read_text(encoding="utf-8")))
    ffi.set_source("cabi._native", '#include "epp.h"', py_limited_api=True)
    ffi.emit_c_code(out)


if __name__ == "__main__":
    main(sys.argv[1])
