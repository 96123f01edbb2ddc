"""``python -m frontend`` and the ``frontend`` command."""

import sys


def main() -> int:
    """Run the command line."""
    from frontend.cli.main import run  # noqa: PLC0415 -- heavy imports only once arguments are known

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
