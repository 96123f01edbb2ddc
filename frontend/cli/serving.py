"""From a configuration to a running frontend: the server, or the chat."""

import logging
import resource
from dataclasses import replace
from typing import Final

import uvloop

from epp.config.errors import ConfigError
from epp.config.model import EtcdConfig
from epp.discovery.etcd_client import EtcdClient
from epp.net.http import FetchError
from epp.telemetry.logs import FieldLog, LineWriter, configure
from epp.wire.etcd import RANGE_PATH, EtcdError, range_request
from frontend.app.serve import serve
from frontend.config.load import Loaded
from frontend.config.model import FrontendConfig
from frontend.http.tls import TlsError
from frontend.interactive import interactive

_PROBE_S: Final = 2.0
_OTHER_FILES: Final = 1024
"""Connections to workers that are kept open, event streams, files."""
_log = logging.getLogger(__name__)


def run_server(loaded: Loaded) -> int:
    """Serve or chat; returns the exit status. Raises ConfigError and OSError for what cannot be started."""
    config = _quiet(loaded) if loaded.config.interactive else loaded.config
    telemetry = config.picker.telemetry
    writer, log = configure(telemetry.log_level, telemetry.log_format)
    allow_files(2 * config.http.max_connections + _OTHER_FILES)
    try:
        return uvloop.run(_run(replace(loaded, config=config), writer, log))
    except TlsError as error:
        raise ConfigError(str(error)) from error
    finally:
        writer.flush()


async def _run(loaded: Loaded, writer: LineWriter, log: FieldLog) -> int:
    if loaded.config.discovery_backend == "etcd" and not _is_asked_for(loaded):
        await require_etcd(loaded.config.picker.discovery.etcd)
    if loaded.config.interactive:
        for warning in loaded.warnings:
            _log.warning(warning)
        return await interactive(loaded.config, log)
    return await serve(loaded.config, writer, log, warnings=loaded.warnings)


def _is_asked_for(loaded: Loaded) -> bool:
    """Whether somebody chose etcd; then its absence is an outage, not a mistake."""
    paths = ("discovery_backend", "picker.discovery.etcd.endpoints")
    return any(loaded.sources[path].is_given for path in paths)


def allow_files(wanted: int) -> None:
    """Raise the process's soft bound of open files: a client's connection and the one to its worker are two,
    and beyond the bound not only clients are turned away but workers seem to be unreachable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if resource.RLIM_INFINITY != soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError) as error:  # more than the system has for anybody
            _log.warning("no more than %d files can be open: %s", soft, error)


async def require_etcd(config: EtcdConfig) -> None:
    """Raises ConfigError unless a member answers: nobody said where workers are to be found."""
    client = EtcdClient(config, timeout_s=_PROBE_S)
    try:
        await client.call(RANGE_PATH, range_request(config.prefix.encode(), None, 0, 1))
    except (FetchError, EtcdError) as error:
        raise ConfigError(
            f"Nothing names the workers, and no etcd answers at {client.member} ({error}): give"
            " --endpoints-file, or --etcd-endpoints of a cluster they register with."
        ) from error


def _quiet(loaded: Loaded) -> FrontendConfig:
    """The configuration for a terminal: nothing but warnings between the lines, unless asked for."""
    config = loaded.config
    if not loaded.sources["picker.telemetry.log_level"].is_given:
        telemetry = replace(config.picker.telemetry, log_level="warning")
        config = replace(config, picker=replace(config.picker, telemetry=telemetry))
    if not loaded.sources["tracing.access_log"].is_given:
        config = replace(config, tracing=replace(config.tracing, access_log=False))
    return config
