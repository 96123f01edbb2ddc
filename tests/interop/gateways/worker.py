"""A simulated vLLM that takes the arguments of the shipped workers.

It listens on loopback, as the simulator does; its pod's network lets the world in (``network.inward``).
"""

import argparse
import os
import sys

from epp.testing.engine.__main__ import main
from tests.interop.gateways import network

_ROOMY = (
    "--no-kv-events",
    "--max-model-len=2000000",
    "--total-blocks=130000",
    "--prefill-tokens-per-s=1e9",
)
"""Gateways are tested here, and not engines: any prompt fits and is computed at once."""


def _run(argv: list[str]) -> int:
    shipped = argparse.ArgumentParser()
    shipped.add_argument("--model", required=True)
    shipped.add_argument("--port", required=True)
    options, _ = shipped.parse_known_args(argv)
    network.inward()
    name = os.environ["HOSTNAME"]  # the pod's; answers carry it
    return main([*_ROOMY, "--ports", options.port, "--model-name", options.model, "--name-prefix", name])


if __name__ == "__main__":
    raise SystemExit(_run(sys.argv[1:]))
