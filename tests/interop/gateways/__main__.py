"""``python -m tests.interop.gateways [pytest's arguments]``: gateways' own control planes before the picker.

What needs a network is fetched and built first. The tests then run in Linux namespaces of their own (user,
network, mounts, processes), which need no root where the kernel lets users make them, and which take
everything with them when they end.
"""

import os
import sys

from tests.interop.gateways import network, programs

_INSIDE = "--inside"
_UNSHARE = (
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


def main(argv: list[str]) -> None:
    """Replace this process, twice: by one in namespaces, and there by pytest."""
    if argv[:1] == [_INSIDE]:
        network.create()
        os.execv(
            sys.executable,
            [sys.executable, "-m", "pytest", "-m", "gateways", "tests/interop/gateways", *argv[1:]],
        )
    programs.build_all()
    os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, "-m", "tests.interop.gateways", _INSIDE, *argv])


if __name__ == "__main__":
    main(sys.argv[1:])
