"""What a container's image becomes here: a process, or a server of the test's own, at the pod's address."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from epp.testing.envoy import find_envoy
from epp.testing.process import ChildProcess
from tests.interop.istio.api import Api
from tests.interop.istio.echo import echoing
from tests.interop.istio.gateway import bootstrap, own_address
from tests.interop.istio.pods import Place, Start

_STOP_S = 10.0
_READ_BYTES = 1 << 16
PICKERS = ("gateway-api-inference-extension/epp:", "llm-endpoint-picker:")
ENGINES = ("vllm/vllm-openai:",)


class Images:
    """Looks an image up by its name."""

    def __init__(self, api: Api, istiod: str, model: Path) -> None:
        """``istiod``: the address at which Envoys are told their configuration; ``model``: folder of what the
        engines serve."""
        self._api, self._istiod, self._model = api, istiod, model

    def __call__(self, image: str) -> Start:
        for names, start in (
            (PICKERS, self._picker),
            (ENGINES, self._engine),
            (("echo-basic:",), self._echo),
            (("proxyv2",), self._proxy),
        ):
            if any(name in image for name in names):
                return start
        raise LookupError(f"nothing here stands for the image {image}")

    async def _picker(self, place: Place) -> Callable[[], bool]:
        """Our picker with the container's arguments; it listens on its pod's address alone, and reads its
        account and its mounted files where they are here."""
        mounts = await _mounted(self._api, place)
        arguments = [_moved(text, mounts) for text in place.container.get("args", ())]
        environment = {
            **{name: _moved(value, mounts) for name, value in place.environment.items()},
            "POD_IP": place.address,
            "KUBECONFIG": str(await _account(self._api, place)),
            "HF_HUB_OFFLINE": "1",
        }
        argv = [sys.executable, "-m", "epp", *arguments, f"--bind-address={place.address}"]
        return await _process(place, argv, environment)

    async def _proxy(self, place: Place) -> Callable[[], bool]:
        """A stock Envoy that is configured by istiod."""
        await self._api.apply(own_address(place))
        config = place.folder / "envoy.json"
        config.write_text(json.dumps(bootstrap(place, self._istiod)))
        argv = [find_envoy(), "--config-path", str(config), "--disable-hot-restart", "--concurrency", "1"]
        return await _process(place, argv, {})

    async def _echo(self, place: Place) -> Callable[[], bool]:
        await place.stack.enter_async_context(echoing(place.address, place.environment))
        return lambda: True

    async def _engine(self, place: Place) -> Callable[[], bool]:
        """A simulated engine; its ports are those of the container's, by name."""
        name = place.pod["metadata"]["name"]
        argv = [
            sys.executable,
            "-m",
            "epp.testing.engine",
            f"--name-prefix={name}",
            "--model-path",
            str(self._model),
            "--model-name",
            _model(place),
        ]
        child = await place.stack.enter_async_context(ChildProcess(name, argv, place.folder / "engine.log"))
        (engine,) = child.ready["engines"]
        there = {"http": "port", "kv-events": "kv_events_port", "kv-replay": "kv_replay_port"}
        for port in place.container["ports"]:
            await _forward(place, port["containerPort"], engine[there[port["name"]]])
        return lambda: child.running


def _model(place: Place) -> str:
    (named,) = (text for text in place.container["args"] if text.startswith("--model="))
    return str(named.partition("=")[2])


async def _process(place: Place, argv: Sequence[str], environment: Mapping[str, str]) -> Callable[[], bool]:
    log = place.folder / f"{place.container['name']}.log"
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            cwd=place.folder,
            start_new_session=True,
        )
    place.process = process
    place.stack.push_async_callback(end, process)
    return lambda: process.returncode is None


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL when that does not do."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _mounted(api: Api, place: Place) -> dict[str, Path]:
    """The container's mounts: path inside → folder here. Of the kinds of volumes those that pickers use."""
    volumes = {volume["name"]: volume for volume in place.pod["spec"].get("volumes", ())}
    found: dict[str, Path] = {}
    for mount in place.container.get("volumeMounts", ()):
        folder = place.folder / mount["name"]
        folder.mkdir(exist_ok=True)
        if (config := volumes[mount["name"]].get("configMap")) is not None:
            path = f"/api/v1/namespaces/{place.pod['metadata']['namespace']}/configmaps/{config['name']}"
            for name, text in (await api.call("GET", path))["data"].items():
                (folder / name).write_text(text)
        found[mount["mountPath"]] = folder
    return found


def _moved(text: str, mounts: Mapping[str, Path]) -> str:
    """With every mounted path in it replaced, once."""
    if not mounts:
        return text
    paths = "|".join(map(re.escape, sorted(mounts, key=len, reverse=True)))
    return re.sub(rf"(?<![\w./-])({paths})(?=/|$)", lambda found: str(mounts[found[1]]), text)


async def _account(api: Api, place: Place) -> Path:
    """A kubeconfig of the pod's own account, with a token that the API server signed."""
    metadata, account = place.pod["metadata"], place.pod["spec"]["serviceAccountName"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await api.call("POST", path, asked))["status"]["token"]
    return api.server.kubeconfig(f"{metadata['namespace']}-{metadata['name']}", {"token": token})


async def _forward(place: Place, port: int, there: int) -> None:
    """Connections to the pod's address go to a port of ours."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, out = await asyncio.open_connection("127.0.0.1", there)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, out), _copy(back, writer))

    server = await asyncio.start_server(carry, place.address, port)
    place.stack.callback(server.close)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one side left; the other is told below
    finally:
        writer.close()
