"""A program as a container would run it: in its pod's network, with a root folder of its own.

That shows the machine's files and, above them, what the pod mounts; mounting writes nothing to the machine's.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tests.interop.gateways.network import PodNetwork

_HOST = ".host"


def command(pod: PodNetwork, root: Path, mounts: Mapping[str, Path], argv: Sequence[str]) -> list[str]:
    """The command line. ``root``: an empty folder to build the root in. ``mounts``: absolute path inside, to
    a folder or file outside."""
    script = "\n".join(("set -e", *_lines(root, mounts), f"exec chroot {root} {shlex.join(argv)}"))
    return [*pod.enter, "unshare", "--mount", "sh", "-c", script]


def _lines(root: Path, mounts: Mapping[str, Path]) -> Iterator[str]:
    """Symbolic links into the machine's root, but for the mounted paths and what is above them."""
    yield f"mount -t tmpfs none {root}"
    yield f"mkdir {root}/{_HOST}"
    yield f"mount --rbind / {root}/{_HOST}"
    targets = {PurePosixPath(path): source for path, source in mounts.items()}
    above = {parent for path in targets for parent in path.parents}
    for folder in sorted(above):
        yield f"mkdir -p {root}{folder}"
        inside = Path(folder)
        for entry in sorted(inside.iterdir()) if inside.is_dir() else ():
            path = PurePosixPath(entry)
            if path not in above and path not in targets:
                yield f"ln -s {shlex.quote(f'/{_HOST}{path}')} {shlex.quote(f'{root}{path}')}"
    for path, source in targets.items():
        make = "mkdir -p" if source.is_dir() else "touch"
        yield f"{make} {root}{path}"
        yield f"mount --bind {shlex.quote(str(source))} {root}{path}"
