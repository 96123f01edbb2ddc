"""etcd and ``kube-apiserver`` as child processes, which tests may kill and start again.

There is no kubelet and no controller: pods are created and their status is patched by the test. Who asks is
told by a bearer token or a client certificate; authorization is RBAC, as in a cluster.
"""

import asyncio
import http.client
import shutil
import ssl
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import yaml

from epp.testing.kubeapi.build import KubeApiError, apiserver_program, custom_resources
from epp.testing.kubeapi.pki import LOOPBACK, Authority, Pair
from epp.testing.ports import HeldPort
from epp.testing.process import log_tail

ADMIN_TOKEN: Final = "admin-token"  # noqa: S105 -- of a server that lives for one test run
START_S: Final = 180.0
_CALL_S: Final = 60.0
_STOP_S: Final = 60.0
_POLL_S: Final = 0.05
_KEPT_S: Final = 30.0
"""The API server closes connections that were idle for 90 s."""


class ApiError(Exception):
    """The API server refused a call of the test."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Admin:
    """Calls with all rights over one kept connection; not for use by two threads at a time."""

    def __init__(self, port: int, ca: Path, address: str = LOOPBACK) -> None:
        self._address = address
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._connection: http.client.HTTPSConnection | None = None
        self._used_s = 0.0

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        """The decoded answer; raises ApiError, OSError, http.client.HTTPException."""
        if time.monotonic() - self._used_s > _KEPT_S:
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._address, self._port, timeout=_CALL_S, context=self._tls
            )
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": kind}
        try:
            self._connection.request(method, path, msgspec.json.encode(body) if body else None, headers)
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        self._used_s = time.monotonic()
        if answer.status >= 300:
            raise ApiError(answer.status, data.decode(errors="replace")[:500])
        return msgspec.json.decode(data) if data[:1] == b"{" else data.decode()

    def create(self, path: str, *objects: Mapping[str, Any]) -> None:
        """New objects in one collection."""
        for made in objects:
            self.call("POST", path, made)

    def patch(self, path: str, change: Mapping[str, Any]) -> None:
        """A merge patch."""
        self.call("PATCH", path, change, "application/merge-patch+json")

    def delete(self, path: str, **options: object) -> None:
        """At once, unless ``gracePeriodSeconds`` says otherwise."""
        self.call("DELETE", path, {"gracePeriodSeconds": 0, **options})

    def close(self) -> None:
        """Drop the connection; a later call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ApiServer:
    """An API server with its store; ports and data survive :meth:`kill` and :meth:`start`."""

    def __init__(
        self, folder: Path, tokens: Mapping[str, str] | None = None, address: str = LOOPBACK
    ) -> None:
        """``tokens``: bearer token to user name, besides :data:`ADMIN_TOKEN`. ``address``: to listen on."""
        self.folder = folder
        self.address = address
        self.authority = Authority(folder, address)
        self._places = HeldPort(address), HeldPort(), HeldPort()
        self.port, self._etcd_port, self._peer_port = (place.port for place in self._places)
        self.admin = Admin(self.port, self.authority.pair.cert, address)
        self._etcd: Process | None = None
        self._server: Process | None = None
        self._certificate = self.authority.issue("server", "kube-apiserver")
        self._signing = self.authority.issue("service-accounts", "service-accounts")
        rows = {ADMIN_TOKEN: "admin", **(tokens or {})}
        lines = (f'{token},{user},{user},"{_groups(user)}"\n' for token, user in rows.items())
        (folder / "tokens.csv").write_text("".join(lines))

    async def __aenter__(self) -> Self:
        try:
            await self._start_etcd()
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the API server and wait until it is ready; raises KubeApiError."""
        program = await asyncio.to_thread(apiserver_program)
        self._server = await self._spawn("kube-apiserver", str(program), _server_options(self))
        await self._wait_for("/readyz")

    async def kill(self) -> None:
        """SIGKILL the API server; the store goes on."""
        self.admin.close()
        server, self._server = self._server, None
        if server is not None:
            await _end(server, at_once=True)

    async def stop(self) -> None:
        """End both."""
        await self.kill()
        etcd, self._etcd = self._etcd, None
        if etcd is not None:
            await _end(etcd, at_once=True)
        for place in self._places:
            place.close()

    async def install(self, *files: Path) -> None:
        """Create the custom resource definitions of these files (none: the inference extension's) and wait
        until they are served; raises KubeApiError."""
        for file in files or await asyncio.to_thread(custom_resources):
            definition = yaml.safe_load(file.read_text())
            self.admin.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            spec = definition["spec"]
            versions = (version["name"] for version in spec["versions"] if version["served"])
            for version in versions:
                await self._wait_for(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}")

    async def _wait_for(self, path: str) -> None:
        """Until a page is served; raises KubeApiError."""
        try:
            async with asyncio.timeout(START_S):
                while not await asyncio.to_thread(self._answers, path):
                    if self._server is None or self._server.returncode is not None:
                        raise KubeApiError(f"kube-apiserver ended: {self.log('kube-apiserver')}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise KubeApiError(f"{path} is not served: {self.log('kube-apiserver')}") from None

    def kubeconfig(self, name: str, user: Mapping[str, Any]) -> Path:
        """A file for ``KUBECONFIG``; ``user`` is its user's entry (``{"token": …}``)."""
        path = self.folder / f"{name}.kubeconfig"
        cluster = {
            "server": f"https://{self.address}:{self.port}",
            "certificate-authority": str(self.authority.pair.cert),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": dict(user)}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return log_tail(self.folder / f"{name}.log")

    @property
    def files(self) -> tuple[Pair, Pair, Path]:
        """The server's certificate, the key that signs service-account tokens, the table of tokens."""
        return self._certificate, self._signing, self.folder / "tokens.csv"

    @property
    def store(self) -> str:
        """URL of etcd."""
        return f"http://127.0.0.1:{self._etcd_port}"

    async def _start_etcd(self) -> None:
        program = shutil.which("etcd")
        if program is None:
            raise KubeApiError("there is no etcd (etcd-server)")
        peer = f"http://127.0.0.1:{self._peer_port}"
        options = {
            "data-dir": str(self.folder / "etcd"),
            "listen-client-urls": self.store,
            "advertise-client-urls": self.store,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        self._etcd = await self._spawn("etcd", program, options)

    async def _spawn(self, name: str, program: str, options: Mapping[str, str]) -> Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                program,
                *(f"--{option}={value}" for option, value in options.items()),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _answers(self, path: str) -> bool:
        try:
            self.admin.call("GET", path)
        except (OSError, http.client.HTTPException, ApiError):
            self.admin.close()
            return False
        return True


def _server_options(server: ApiServer) -> dict[str, str]:
    served, signing, tokens = server.files
    return {
        "etcd-servers": server.store,
        "etcd-prefix": "/registry",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(signing.key),
        "service-account-signing-key-file": str(signing.key),
        "tls-cert-file": str(served.cert),
        "tls-private-key-file": str(served.key),
        "client-ca-file": str(server.authority.pair.cert),
        "token-auth-file": str(tokens),
        "authorization-mode": "RBAC",
        "bind-address": server.address,
        "secure-port": str(server.port),
        "service-cluster-ip-range": "10.0.0.0/24",
        "disable-admission-plugins": "ServiceAccount",
        "endpoint-reconciler-type": "none",
    }


def _groups(user: str) -> str:
    return "system:masters" if user == "admin" else "system:authenticated"


async def _end(process: Process, *, at_once: bool) -> None:
    if process.returncode is None:
        (process.kill if at_once else process.terminate)()
        async with asyncio.timeout(_STOP_S):
            await process.wait()
