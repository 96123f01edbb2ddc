"""``python -m epp`` and the ``epp`` command."""

import sys


def main() -> int:
    """Run the command line."""
    from epp.cli.main import run  # noqa: PLC0415 -- heavy imports only once arguments are known

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
