"""The image, built by buildah from the recipe and run by bubblewrap: neither needs a container engine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manifests.envoy_files import MANIFESTS

_TIMEOUT_S = 900.0
_TOOLS = ("buildah", "bwrap")
_IMAGE = "llm-endpoint-picker-test"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; the first of a run waits for the build."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


class Image:
    """The image's files, mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def argv(self, *command: str, **binds: Path) -> list[str]:
        """``command`` as a pod of the shipped Deployment would run it: user 65532, a root that cannot be
        written, no capability, an empty /tmp. ``binds``: name below /tmp → what is seen there, read-only."""
        seen = [word for name, path in binds.items() for word in ("--ro-bind", str(path), f"/tmp/{name}")]
        return [
            "bwrap", "--ro-bind", str(self.root), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
            *seen, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--uid", "65532", "--gid", "65532",
            "--cap-drop", "ALL", "--die-with-parent", "--chdir", "/tmp", "--clearenv",
            "--setenv", "PATH", "/opt/epp/bin:/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp",
            "--setenv", "PYTHONDONTWRITEBYTECODE", "1", "--setenv", "PYTHONUNBUFFERED", "1", *command,
        ]  # fmt: skip

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(self.argv(*command), capture_output=True, text=True, timeout=60, check=False)


def _buildah(*words: str) -> str:
    done = subprocess.run(
        ("buildah", *words), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode:
        pytest.fail(f"buildah {words[0]}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image on EPP_IMAGE_BASE."""
    base = os.environ.get("EPP_IMAGE_BASE")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if base is None or missing:
        pytest.skip(
            f"set EPP_IMAGE_BASE to a Python base image{', install ' + ', '.join(missing) if missing else ''}"
        )
    recipe = MANIFESTS / "image" / "Dockerfile"
    _buildah(
        "bud", "--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={base}",
        "--ignorefile", f"{recipe}.dockerignore", "-t", _IMAGE, "-f", str(recipe), str(MANIFESTS.parent),
    )  # fmt: skip
    container = _buildah("from", _IMAGE)
    try:
        yield Image(Path(_buildah("mount", container)))
    finally:
        _buildah("rm", container)
