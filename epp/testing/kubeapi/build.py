"""The ``kube-apiserver`` program, built from its Go modules once and kept in the user's cache folder.

Nothing of Kubernetes is copied into this repository: a main package of a few lines is written beside a
``go.mod`` made from Kubernetes' own, and ``go build`` does the rest (about five minutes on two busy cores; a
second later is a look into the cache). Custom resource definitions come from their modules likewise.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

KUBERNETES: Final = "v1.34.2"
INFERENCE_EXTENSION: Final = "sigs.k8s.io/gateway-api-inference-extension"
INFERENCE_EXTENSION_VERSION: Final = "v1.5.0"
WITH_V1ALPHA2_VERSION: Final = "v1.4.0"
"""The last version that has the older InferencePool."""
_STAGING: Final = KUBERNETES.replace("v1.", "v0.", 1)
"""Kubernetes' own libraries carry the same numbers with a zero in front."""
_BUILD_S: Final = 1500.0
_FETCH_S: Final = 120.0
_NICENESS: Final = 10
_MAIN: Final = """package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
"""


class KubeApiError(Exception):
    """The API server cannot be built or started; the text says what to do."""


class _Module(msgspec.Struct, rename="pascal"):
    dir: str
    go_mod: str


def find_go() -> str | None:
    """The ``go`` program: on PATH, where Go's own installer puts it, or in the virtual environment."""
    places = (Path("/usr/local/go/bin/go"), Path(sys.prefix, "go", "go", "bin", "go"))
    return shutil.which("go") or next((str(place) for place in places if place.exists()), None)


def apiserver_program() -> Path:
    """The built ``kube-apiserver``; builds it if need be. Raises KubeApiError."""
    recipe = hashlib.sha256(f"{KUBERNETES}\n{_MAIN}\n{_flags()}".encode()).hexdigest()[:12]
    program = _cache() / f"kube-apiserver-{KUBERNETES}-{recipe}"
    with _locked(program.with_name(f"{program.name}.lock")):
        if not program.exists():
            _build(program)
    return program


def custom_resources(version: str = INFERENCE_EXTENSION_VERSION) -> tuple[Path, ...]:
    """The files with the inference extension's custom resource definitions; raises KubeApiError."""
    folder = Path(_module(INFERENCE_EXTENSION, version).dir, "config", "crd", "bases")
    return tuple(sorted(folder.glob("*.yaml")))


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root, "llm-endpoint-picker", "kubeapi")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Of several test runs at once, one builds and the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(program: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kube-apiserver-") as folder:
        Path(folder, "main.go").write_text(_MAIN)
        Path(folder, "go.mod").write_text(
            _requirements(Path(_module("k8s.io/kubernetes", KUBERNETES).go_mod))
        )
        _go(["mod", "tidy"], folder, _BUILD_S)
        built = Path(folder, "kube-apiserver")
        _go(["build", "-trimpath", "-ldflags", _flags(), "-o", str(built), "."], folder, _BUILD_S)
        unfinished = program.with_name(f"{program.name}.new")
        shutil.copy2(built, unfinished)
        unfinished.rename(program)


def _flags() -> str:
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return " ".join(("-s -w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamps.items())))


def _requirements(kubernetes: Path) -> str:
    """A go.mod that replaces what Kubernetes' own requires as part of itself (at ``v0.0.0``)."""
    text = kubernetes.read_text()
    language = re.search(r"^go (\S+)$", text, re.MULTILINE)
    own = re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0$", text, re.MULTILINE)
    if language is None or not own:
        raise KubeApiError(f"{kubernetes} is not the go.mod that was expected")
    replaced = "".join(f"\t{module} => {module} {_STAGING}\n" for module in own)
    required = f"\tk8s.io/component-base {_STAGING}\n\tk8s.io/kubernetes {KUBERNETES}\n"
    return f"module kubeapiserver\n\ngo {language[1]}\n\nrequire (\n{required})\n\nreplace (\n{replaced})\n"


def _module(path: str, version: str) -> _Module:
    answer = _go(["mod", "download", "-json", f"{path}@{version}"], "/", _FETCH_S)
    return msgspec.json.decode(answer, type=_Module)


def _go(arguments: list[str], folder: str, timeout_s: float) -> bytes:
    go = find_go()
    if go is None:
        raise KubeApiError("Go is not installed; it builds the API server")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    try:
        done = subprocess.run(
            ["nice", "-n", str(_NICENESS), go, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise KubeApiError(f"go {arguments[0]} took more than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise KubeApiError(f"go {' '.join(arguments[:2])}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
