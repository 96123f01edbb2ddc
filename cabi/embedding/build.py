"""Build ``libepp_request`` for the Python that runs this: ``python -m cabi.embedding.build --out DIR``.

DIR becomes an installation prefix: ``lib/libepp_request.so``, ``include/epp_request.h`` and
``lib/pkgconfig/epp_request.pc``. The library belongs to this Python (its minor version, its virtual
environment); ``EPP_PYTHON_HOME`` names another environment of that version at run time. It needs a C
compiler (``$CC``, else cc), Python's headers and Python as a shared library.
"""

import argparse
import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cffi

_HERE = Path(__file__).parent
_INCLUDE = _HERE.parent / "include"
_PROGRAM = "epp.embedding"
"""Module of the embedded program; its ``install(ffi, lib)`` defines the functions of embedded.h."""
_LINK_NAME = "libepp_request.so"
_WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion")
_COMPILE = ("-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden", "-DEPP_REQUEST_BUILDING")
_LINK = ("-shared", "-Wl,-z,defs", "-Wl,-z,nodelete")  # an interpreter cannot be unloaded


class BuildError(Exception):
    """Something the build needs is not there; the text names it."""


def source() -> str:
    """The C source cffi writes: the embedded functions, and the interpreter's way to them."""
    seam = (_HERE / "embedded.h").read_text(encoding="utf-8")
    ffi = cffi.FFI()
    ffi.cdef(_between((_INCLUDE / "epp_request.h").read_text(encoding="utf-8"), "cdef"))
    ffi.cdef(_between(seam, "cdef") + _between(seam, "c"))
    ffi.embedding_api(_between(seam, "python"))
    ffi.embedding_init_code(
        f"from _epp_request import ffi, lib\nfrom {_PROGRAM} import install\ninstall(ffi, lib)\n"
    )
    hidden = '#undef CFFI_DLLEXPORT\n#define CFFI_DLLEXPORT __attribute__((visibility("hidden")))\n'
    ffi.set_source("_epp_request", f'#include "embedded.h"\n{hidden}')
    text = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):  # cffi tells what it does
        ffi.emit_c_code(text)  # type: ignore[arg-type]  # the stubs know of file names only
    return text.getvalue()


def build(out: Path, *, rpath: bool = True) -> Path:
    """Build into a prefix; returns the library's path. Raises BuildError.

    ``rpath``: the library remembers where libpython is, for Pythons outside the system's folders.
    """
    libpython = _libpython()
    _require_headers()
    lib, include, pkgconfig = out / "lib", out / "include", out / "lib" / "pkgconfig"
    for folder in (include, pkgconfig):
        folder.mkdir(parents=True, exist_ok=True)
    target = lib / f"{_LINK_NAME}.{_abi_version()}"
    _compile(target, libpython, rpath=rpath)
    link = lib / _LINK_NAME
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    shutil.copy(_INCLUDE / "epp_request.h", include)
    pc = (_HERE / "epp_request.pc.in").read_text(encoding="utf-8")
    (pkgconfig / "epp_request.pc").write_text(
        pc.replace("@ABI_VERSION@", str(_abi_version())), encoding="utf-8"
    )
    return link


def _compile(target: Path, libpython: Path, *, rpath: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder) / "embedded.c"
        generated.write_text(source(), encoding="utf-8")
        objects = [
            _object(folder, _HERE / "interpreter.c", *_WARNINGS, *_facts(libpython)),
            _object(folder, _HERE / "request.c", *_WARNINGS),
            _object(folder, generated, "-w"),  # what cffi writes is not ours to lint
        ]
        paths = [str(path) for path in (*objects, libpython)]
        options = [*_LINK, f"-Wl,-soname,{target.name}"]
        if rpath:
            options.append(f"-Wl,-rpath,{libpython.parent}")
        _run(*options, *paths, "-o", str(target), "-lpthread", "-ldl", "-lm")


def _object(folder: str, path: Path, *options: str) -> Path:
    made = Path(folder) / f"{path.stem}.o"
    folders = [f"-I{_HERE}", f"-I{_INCLUDE}", f"-I{sysconfig.get_path('include')}"]
    _run(*_COMPILE, *options, *folders, "-c", str(path), "-o", str(made))
    return made


def _facts(libpython: Path) -> list[str]:
    """What the library must know of the Python it is built for."""
    return [
        f'-DEPP_PYTHON_HOME="{sys.prefix}"',
        f'-DEPP_PYTHON_MODULE="{_PROGRAM}"',
        f'-DEPP_LIBPYTHON="{libpython.name}"',
    ]


def _libpython() -> Path:
    """The shared library of this Python, by its soname."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    folders = [sysconfig.get_config_var(key) for key in ("LIBDIR", "LIBPL")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        folders += [f"/usr/lib/{multiarch}", f"/lib/{multiarch}"]
    for folder in filter(None, folders):
        path = Path(folder) / name
        if ".so" in name and path.exists():
            return path
    version = sysconfig.get_python_version()
    raise BuildError(
        f"Python {version} at {sys.prefix} has no shared library: on Debian install libpython{version},"
        " elsewhere a Python built with --enable-shared."
    )


def _require_headers() -> None:
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").exists():
        version = sysconfig.get_python_version()
        raise BuildError(f"{folder} has no Python.h: on Debian install libpython{version}-dev.")


def _abi_version() -> int:
    header = (_INCLUDE / "epp_request.h").read_text(encoding="utf-8")
    _, _, rest = header.partition("#define EPP_REQUEST_ABI_VERSION ")
    return int(rest.split(maxsplit=1)[0])


def _between(text: str, name: str) -> str:
    _, begin, rest = text.partition(f"/* {name}: begin */")
    part, end, _ = rest.partition(f"/* {name}: end */")
    if not begin or not end:
        raise BuildError(f"a header has lost its {name} markers")
    return part


def _run(*arguments: str) -> None:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    try:
        done = subprocess.run([*compiler, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 -- the compiler the caller chose
    except OSError as error:
        raise BuildError(f"{compiler[0]} cannot be run: {error.strerror}; a C compiler is needed") from error
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        raise BuildError(f"{compiler[0]} ended with {done.returncode}")


def main(argv: Sequence[str] | None = None) -> int:
    """Build; returns the exit status."""
    parser = argparse.ArgumentParser("python -m cabi.embedding.build", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="installation prefix to fill")
    parser.add_argument("--no-rpath", action="store_true", help="do not remember where libpython is")
    options = parser.parse_args(argv)
    try:
        library = build(options.out, rpath=not options.no_rpath)
    except (BuildError, OSError) as error:
        sys.stderr.write(f"libepp_request is not built: {error}\n")
        return 1
    sys.stdout.write(f"{library}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
