"""The configuration text of an embedded picker: the picker's own, and endpoints in place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from epp.config.errors import ConfigError
from epp.config.load import Loaded, load_config
from epp.config.model import Config
from epp.config.tree import Tree, read_document
from epp.config.validate import require_endpoints
from epp.core.endpoints import Endpoint, PoolSnapshot
from epp.wire.endpointsfile import EndpointsFileError, is_literal, parse

NAME: Final = "the given configuration"
"""How messages call the text."""
_ENDPOINTS: Final = "endpoints"


@dataclass(frozen=True, slots=True)
class Given:
    """What a host asked for."""

    loaded: Loaded
    endpoints: tuple[Endpoint, ...] | None
    """Endpoints given in place; None: the configuration names their source."""


def read(text: bytes, environ: Mapping[str, str]) -> Given:
    """The configuration by a text and this process's environment; raises ConfigError."""
    tree = read_document(text, NAME)
    endpoints = None
    if isinstance(tree, dict) and _ENDPOINTS in tree:
        endpoints = _endpoints(tree.pop(_ENDPOINTS))
        text = json.dumps(tree).encode()
    loaded = load_config(["--config-file", NAME], environ, lambda _name: text)
    if endpoints is None:
        _require_endpoints(loaded.config)
    else:
        _refuse_other_sources(loaded)
    return Given(loaded, endpoints)


def _endpoints(entries: Tree) -> tuple[Endpoint, ...]:
    try:
        endpoints = parse(json.dumps({_ENDPOINTS: entries}).encode())
        PoolSnapshot.of(endpoints)
    except (EndpointsFileError, ValueError) as error:
        raise ConfigError(f"{_ENDPOINTS} in {NAME}: {error}.") from error
    for endpoint in endpoints:
        if not is_literal(endpoint.address):
            raise ConfigError(
                f"{_ENDPOINTS} in {NAME}: the address of {endpoint.name!r} is a name; names are looked up"
                " for discovery.endpoints_file only, so write an IP address."
            )
    return endpoints


def _require_endpoints(config: Config) -> None:
    try:
        require_endpoints(config)
    except ConfigError as error:
        raise ConfigError(f"{NAME} lists no {_ENDPOINTS}. {error}") from error


def _refuse_other_sources(loaded: Loaded) -> None:
    for path in ("discovery.endpoints_file", "discovery.backend", "pool.name", "pool.selector"):
        if loaded.sources[path].is_given:
            raise ConfigError(
                f"{_ENDPOINTS} in {NAME} and {path} ({loaded.sources[path]}) contradict each other:"
                " endpoints come from one place."
            )
