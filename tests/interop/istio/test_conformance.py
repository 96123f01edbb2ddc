"""The inference extension's own conformance suite, unmodified, with our picker where it names another."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.interop.istio import programs
from tests.interop.istio.stage import Stage

_SUITE_S: Final = 900.0
_CASES: Final = 13
_NAMESPACE: Final = "inference-conformance-app-backend"
_PICKERS: Final = ("primary", "secondary", "appprotocol-http", "appprotocol-h2c", "dp")
_RESULT: Final = re.compile(r"^    --- (PASS|FAIL|SKIP): TestConformance/(\w+) \(([\d.]+)s\)$", re.MULTILINE)


@pytest.mark.asyncio(loop_scope="session")
async def test_every_case_passes(stage: Stage, tmp_path: Path, tell: Callable[[str], None]) -> None:
    await _tls(stage)
    await _keep_listeners(stage)
    try:
        status, text = await _run_suite(stage, tmp_path)
    finally:
        await _leave(stage)
    results = {name: how for how, name, _ in _RESULT.findall(text)}
    passed = sum(how == "PASS" for how in results.values())
    took_s = sum(float(seconds) for *_, seconds in _RESULT.findall(text))
    tell(f"conformance suite: {passed} of {len(results)} cases passed in {took_s:.0f} s")
    assert results == dict.fromkeys(results, "PASS"), text[-4000:]
    assert (len(results), status) == (_CASES, 0), text[-4000:]


async def _run_suite(stage: Stage, home: Path) -> tuple[int, str]:
    """Its exit status, and what it said."""
    program = await asyncio.to_thread(programs.suite)
    argv = [program, "-test.v", "-gateway-class=istio", "-cleanup-base-resources=false"]
    log = stage.folder / "suite.log"
    environment = {"KUBECONFIG": str(stage.kubeconfig), "HOME": str(home)}
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*argv, stdout=file, stderr=file, env=environment)
    try:
        async with asyncio.timeout(_SUITE_S):
            return await process.wait(), log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _keep_listeners(stage: Stage) -> None:
    """A pool that stays attached to both Gateways, on a path that nobody asks for.

    istiod puts ext_proc into a Gateway's listener while some pool is attached to it, but looks that up when
    it happens to push: the first route to a pool can go without its picker until the next push. The suite
    takes the last route away and makes another, again and again.
    """
    await stage.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}})
    name = {"name": "kept", "namespace": "kept"}
    picker = {"name": "nobody", "port": {"number": 9002}}
    pool = {"selector": {"matchLabels": {"app": "nobody"}}, "targetPorts": [{"number": 80}]}
    gateways = [
        {"name": f"conformance-{each}", "namespace": "inference-conformance-infra"}
        for each in ("primary", "secondary")
    ]
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "kept"}
    route = {
        "parentRefs": gateways,
        "rules": [{"matches": [{"path": {"type": "Exact", "value": "/kept"}}], "backendRefs": [backend]}],
    }
    for kind, version, spec in (
        ("InferencePool", "inference.networking.k8s.io/v1", {**pool, "endpointPickerRef": picker}),
        ("HTTPRoute", "gateway.networking.k8s.io/v1", route),
    ):
        await stage.api.apply({"apiVersion": version, "kind": kind, "metadata": name, "spec": spec})


async def _leave(stage: Stage) -> None:
    """End what the suite started; other tests go on in the same cluster."""
    for path in ("/apis/gateway.networking.k8s.io/v1/gateways", "/apis/apps/v1/deployments"):
        for thing in await stage.api.list(path):
            namespace, name = thing["metadata"]["namespace"], thing["metadata"]["name"]
            if namespace.startswith("inference-conformance-"):
                root, _, plural = path.rpartition("/")
                await stage.api.delete(f"{root}/namespaces/{namespace}/{plural}/{name}")


async def _tls(stage: Stage) -> None:
    """What the suite's own recipe for Istio adds: pickers' certificates are self-signed."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    await stage.api.apply(namespace)
    for picker in _PICKERS:
        name = f"{picker}-endpoint-picker"
        await stage.api.apply(
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "DestinationRule",
                "metadata": {"name": f"{name}-tls", "namespace": _NAMESPACE},
                "spec": {
                    "host": f"{name}-svc",
                    "trafficPolicy": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}},
                },
            }
        )
