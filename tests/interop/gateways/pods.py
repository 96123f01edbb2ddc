"""One pod as processes: its volumes as folders, its environment, its command lines."""

import base64
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from epp.testing.kubeapi.server import Admin
from epp.testing.process import log_tail
from tests.interop.gateways.container import command
from tests.interop.gateways.network import NODE, PodNetwork
from tests.interop.gateways.objects import Object
from tests.interop.gateways.probes import answers

_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_END_S: Final = 60.0
Process: TypeAlias = subprocess.Popen[bytes]


@dataclass(slots=True)
class Pod:
    """A pod that was started."""

    made: Object
    """The object, as the API server has it."""
    network: PodNetwork
    folder: Path
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    """By name of the container."""
    ready: bool = False
    lost: bool = False
    """It died and nobody has noticed: it is not probed any more, and stays ready."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.made["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.made["metadata"]["namespace"])

    @property
    def containers(self) -> list[Object]:
        """Sidecars first; init containers that end are in none of these manifests."""
        return [*self.made["spec"].get("initContainers", ()), *self.made["spec"]["containers"]]

    def log(self, container: str) -> Path:
        """Where a container's output goes."""
        return self.folder / f"{container}.log"

    def check(self) -> None:
        """Raises AssertionError with its log if a container ended."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{self.name}/{name} ended:\n{log_tail(self.log(name))}"

    def kill(self) -> None:
        """SIGKILL, all of it, and its network goes too."""
        self.end()
        self.network.close()

    def end(self) -> None:
        """SIGKILL; its address refuses connections."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_S)

    async def probe(self) -> bool:
        """Whether every container runs and says that it is ready."""
        if any(process.poll() is not None for process in self.processes.values()):
            return False
        return all([await answers(self.network.address, container) for container in self.containers])


@dataclass(frozen=True, slots=True)
class Shared:
    """What every pod of a cluster is given."""

    admin: Admin
    api_port: int
    authority: Path
    """Certificate of the API server's authority."""
    resolv: Path
    """The file that names the cluster's DNS."""
    programs: Mapping[str, tuple[str, ...]]
    """What to run: by image, without tag, or by command."""


def start(pod: Pod, shared: Shared) -> None:
    """Run every container of a pod."""
    every = pod.made["spec"].get("volumes", ())
    volumes = {volume["name"]: _volume(volume, pod, shared.admin) for volume in every}
    always = {"/etc/resolv.conf": shared.resolv, **_account(pod, shared)}
    for container in pod.containers:
        name = container["name"]
        said = container.get("volumeMounts", ())
        own = {at["mountPath"].rstrip("/"): volumes[at["name"]] / at.get("subPath", "") for at in said}
        environment = {
            **dict(_environment(container, pod)),
            "KUBERNETES_SERVICE_HOST": NODE,
            "KUBERNETES_SERVICE_PORT": str(shared.api_port),
            "HOSTNAME": pod.name,
        }
        root = pod.folder / f"{name}.root"
        root.mkdir()
        argv = _argv(container, shared.programs, environment)
        with pod.log(name).open("ab") as log:
            pod.processes[name] = subprocess.Popen(
                command(pod.network, root, {**always, **own}, argv),
                env={"PATH": os.environ["PATH"], "HOME": "/tmp", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _argv(
    container: Object, programs: Mapping[str, tuple[str, ...]], environment: Mapping[str, str]
) -> list[str]:
    said = [*container.get("command", ())]
    image = str(container["image"]).partition("@")[0].rpartition(":")[0]
    program = programs[Path(said.pop(0)).name] if said else programs[image]
    rest = [*said, *container.get("args", ())]
    return [*program, *(_expand(str(argument), environment) for argument in rest)]


def _environment(container: Object, pod: Pod) -> Iterator[tuple[str, str]]:
    known: dict[str, str] = {}
    for entry in container.get("env", ()):
        source = entry.get("valueFrom", {})
        if source and "fieldRef" not in source:
            continue  # of resources, which nothing limits here
        value = (
            _field(pod, source["fieldRef"]["fieldPath"]) if source else _expand(entry.get("value", ""), known)
        )
        known[entry["name"]] = value
        yield entry["name"], value


def _field(pod: Pod, path: str) -> str:
    annotation = re.fullmatch(r"metadata\.annotations\['(.+)'\]", path)
    if annotation:
        return str(pod.made["metadata"].get("annotations", {}).get(annotation[1], ""))
    return {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "status.podIP": pod.network.address,
        "status.hostIP": NODE,
        "spec.nodeName": str(pod.made["spec"]["nodeName"]),
    }[path]


def _expand(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\(([A-Za-z_]\w*)\)", lambda found: known.get(found[1], found[0]), text)


def _account(pod: Pod, shared: Shared) -> dict[str, Path]:
    """What a kubelet mounts for the pod's service account: a token of the real API server."""
    spec = pod.made["spec"]
    name = spec.get("serviceAccountName")
    if name is None or spec.get("automountServiceAccountToken") is False:
        return {}
    path = f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{name}/token"
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = shared.admin.call("POST", path, wanted)["status"]["token"]
    folder = pod.folder / "account"
    folder.mkdir()
    (folder / "token").write_text(token)
    (folder / "namespace").write_text(pod.namespace)
    (folder / "ca.crt").write_bytes(shared.authority.read_bytes())
    return {_ACCOUNT: folder}


def _volume(volume: Object, pod: Pod, admin: Admin) -> Path:
    folder = pod.folder / f"volume-{volume['name']}"
    folder.mkdir()
    if "emptyDir" in volume:
        return folder
    kind, said = next((kind, volume[kind]) for kind in ("secret", "configMap") if kind in volume)
    name = said.get("secretName") or said.get("name")
    stored = admin.call("GET", f"/api/v1/namespaces/{pod.namespace}/{kind.lower()}s/{name}").get("data", {})
    chosen = {item["key"]: item["path"] for item in said.get("items", ())} or {key: key for key in stored}
    for key, path in chosen.items():
        data = base64.b64decode(stored[key]) if kind == "secret" else stored[key].encode()
        (folder / path).write_bytes(data)
    return folder
