"""Registers one endpoint with etcd for as long as this runs: a lease, a key, and renewals.

Whoever stops renewing is forgotten when the lease ends: a worker that was killed, a machine that is gone. An
orderly end takes the registration back at once. When etcd lost the lease, or could not be reached for
longer than it lives, the endpoint is registered anew.
"""

import asyncio
import logging
from typing import Final

from epp.config.model import EtcdConfig
from epp.discovery.etcd_client import EtcdClient
from epp.net.http import FetchError
from epp.wire.endpointsfile import parse_entry
from epp.wire.etcd import (
    GRANT_PATH,
    KEEP_ALIVE_PATH,
    PUT_PATH,
    REVOKE_PATH,
    EtcdError,
    EtcdFormatError,
    grant_request,
    lease_request,
    put_request,
    read_kept_lease,
    read_lease,
)

MIN_TTL_S: Final = 2
"""etcd's own floor is near it: an election lasts about a second."""
_RENEWALS_PER_TTL: Final = 3
_TROUBLES = (FetchError, EtcdError, EtcdFormatError)

_log = logging.getLogger(__name__)


class Registrar:
    """Keeps one endpoint registered."""

    def __init__(self, config: EtcdConfig, entry: bytes, ttl_s: int = 10) -> None:
        """``entry`` is an entry of the endpoints file as JSON. Raises EndpointsFileError, OSError."""
        endpoint = parse_entry(entry, "the entry")
        self._key = f"{config.prefix}{endpoint.namespace}/{endpoint.name}".encode()
        self._entry = entry
        self._ttl_s = max(ttl_s, MIN_TTL_S)
        self._client = EtcdClient(config, timeout_s=max(1.0, self._ttl_s / _RENEWALS_PER_TTL))
        self._lease = 0
        self.registered = asyncio.Event()
        """Set while the endpoint is registered, as far as is known."""

    async def run(self) -> None:
        """Register and renew until cancelled; then take the registration back, if etcd answers."""
        try:
            while True:
                await self._step()
                await asyncio.sleep(self._ttl_s / _RENEWALS_PER_TTL if self._lease else 1.0)
        finally:
            await self._leave()

    async def _step(self) -> None:
        """Renew the lease, or get one and put the key under it."""
        try:
            if self._lease and not await self._renew():
                _log.warning("register: the lease is gone; registering anew")
                self._lease = 0
            if not self._lease:
                await self._register()
            self.registered.set()
        except _TROUBLES as error:
            _log.warning("register: etcd at %s: %s", self._client.member, error)
            self._client.move_on()
            self.registered.clear()

    async def _renew(self) -> bool:
        """Whether the lease lives on."""
        kept = read_kept_lease(await self._client.call(KEEP_ALIVE_PATH, lease_request(self._lease)))
        return kept.ttl_s > 0

    async def _register(self) -> None:
        granted = read_lease(await self._client.call(GRANT_PATH, grant_request(self._ttl_s)))
        await self._client.call(PUT_PATH, put_request(self._key, self._entry, granted.id))
        self._lease = granted.id
        _log.info("register: %s is registered", self._key.decode())

    async def _leave(self) -> None:
        lease, self._lease = self._lease, 0
        self.registered.clear()
        if lease:
            try:
                await self._client.call(REVOKE_PATH, lease_request(lease))
            except _TROUBLES as error:
                _log.warning("register: not taken back, it ends with its lease: %s", error)
