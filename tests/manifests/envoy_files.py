"""The Envoy configurations that are shipped, made by the builder that the tests' own Envoys are made by."""

from pathlib import Path

import yaml

from epp.testing.envoy_config import EnvoyOptions, build_config

MANIFESTS = Path(__file__).parents[2] / "gateway-manifests"
_HEADER = "# Made by tests/manifests/renew.py from epp.testing.envoy_config; do not edit.\n"

BESIDE = EnvoyOptions(
    pickers=[9002],
    listen="0.0.0.0:8080",
    admin="127.0.0.1:9901",
    downstream_h2=None,
)
"""One picker in the same pod, over loopback in plaintext."""
APART = EnvoyOptions(
    pickers=[9002],
    picker_host="epp",
    picker_tls=True,
    listen="0.0.0.0:8080",
    admin="127.0.0.1:9901",
    downstream_h2=None,
    health_interval_s=2.0,
)
"""All pickers behind a headless Service, each asked how it is."""

FILES = {
    MANIFESTS / "standalone" / "envoy.yaml": BESIDE,
    MANIFESTS / "overlays" / "plain-envoy" / "envoy.yaml": APART,
}


def written(options: EnvoyOptions) -> str:
    """The text of a file."""
    return _HEADER + yaml.safe_dump(build_config(options), sort_keys=False, width=120)
