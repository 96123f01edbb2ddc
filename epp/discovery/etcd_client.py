"""Calls to an etcd cluster over its JSON gateway: any member will do, tried in turn."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from epp.config.model import EtcdConfig
from epp.net.http import HttpClient
from epp.net.lines import post_for_lines
from epp.wire.etcd import refusal
from epp.wire.urls import parse_url

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""A page of the largest values fits."""
_MAX_LINE_BYTES: Final = 64 * 1024 * 1024


class EtcdClient:
    """One member at a time; whoever sees a call fail moves on to the next (a member without a leader
    refuses what another may grant)."""

    def __init__(self, config: EtcdConfig, *, timeout_s: float = 5.0) -> None:
        """Raises OSError for certificates that cannot be read."""
        self._members = config.endpoints
        self._timeout_s = timeout_s
        self._turn = 0
        self._tls = _tls_of(config) if any(m.startswith("https:") for m in self._members) else None

    @property
    def member(self) -> str:
        """Whom the next call asks."""
        return self._members[self._turn % len(self._members)]

    def move_on(self) -> None:
        """Ask the next member from now on."""
        self._turn += 1

    async def call(self, path: str, body: bytes) -> bytes:
        """One answer of one member; raises FetchError, EtcdError."""
        client = HttpClient(parse_url(self.member + path), max_body_bytes=_MAX_BODY_BYTES, tls=self._tls)
        try:
            response = await client.fetch("POST", self._timeout_s, body)
        finally:
            client.close()
        if response.status != 200:
            raise refusal(response.status, response.body)
        return response.body

    async def lines(self, path: str, body: bytes, idle_s: float) -> AsyncGenerator[bytes, None]:
        """The lines of a lasting answer of one member, see :func:`post_for_lines`."""
        url = parse_url(self.member + path)
        answer = post_for_lines(
            url,
            body,
            tls=self._tls if url.tls else None,
            connect_s=self._timeout_s,
            idle_s=idle_s,
            max_line_bytes=_MAX_LINE_BYTES,
        )
        async with aclosing(answer):
            async for line in answer:
                yield line


def _tls_of(config: EtcdConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca_path)
    if config.cert_path is not None:
        context.load_cert_chain(config.cert_path, config.key_path)
    return context
