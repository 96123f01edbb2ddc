"""Credential plugins as small scripts: what they are told, when they run; and a real API server."""

import asyncio
import json
import shlex
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from epp.discovery.kubernetes import execplugin as module
from epp.discovery.kubernetes import find_access
from epp.discovery.kubernetes.access import AccessError
from epp.discovery.kubernetes.client import ApiClient, RefusedError
from epp.discovery.kubernetes.execplugin import PluginRunner
from epp.wire.kubernetes.execplugin import VERSIONS, read_plugin
from tests.integration.kubernetes.conftest import DEADLINE_S, Space, eventually, settles
from tests.integration.kubernetes.test_programs import running, until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]
V1 = VERSIONS[0]


def says(**status: Any) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


class Script:
    """A plugin that counts its runs, and its entry in a kubeconfig."""

    def __init__(self, folder: Path, script: str = "cat answer") -> None:
        self._runs = folder / "runs"
        self._answer = folder / "answer"
        self.path = folder / "plugin.sh"
        self.path.write_text(f"#!/bin/sh\ncd {shlex.quote(str(folder))}\necho >> runs\n{script}\n")
        self.path.chmod(0o755)

    def answer(self, **status: Any) -> None:
        fresh = self._answer.with_suffix(".new")
        fresh.write_text(says(**status))
        fresh.rename(self._answer)

    @property
    def runs(self) -> int:
        return len(self._runs.read_text()) if self._runs.exists() else 0

    def entry(self, **more: Any) -> dict[str, Any]:
        return {"apiVersion": V1, "command": str(self.path), "interactiveMode": "Never", **more}

    def runner(
        self, clock_s: list[float] | None = None, steady_s: list[float] | None = None, **more: Any
    ) -> PluginRunner:
        """``clock_s``: the first is the time, and also the steady one unless ``steady_s`` is."""
        plugin = read_plugin({"exec": self.entry(**more)}, {"server": "https://a"})
        assert plugin is not None
        times = clock_s or [1e9]
        steady = times if steady_s is None else steady_s
        return PluginRunner(
            plugin, self.path.parent, lambda: b"PEM", clock=lambda: times[0], steady=lambda: steady[0]
        )


async def refusal(runner: PluginRunner) -> str:
    with pytest.raises(AccessError) as error:
        await runner.credential()
    return str(error.value)


async def test_what_it_is_told(tmp_path: Path) -> None:
    script = Script(tmp_path, 'echo "$1 $OURS $KUBERNETES_EXEC_INFO" > told; cat answer')
    script.answer(token="t")
    ours = [{"name": "OURS", "value": "mine"}]
    arguments: dict[str, Any] = {"args": ["one two"], "env": ours, "provideClusterInfo": True}
    assert (await script.runner(**arguments).credential()).token == "t"
    *words, told = (tmp_path / "told").read_text().split(" ", 3)
    assert words == ["one", "two", "mine"]
    cluster = json.loads(told)["spec"]["cluster"]
    assert (cluster["server"], b64decode(cluster["certificate-authority-data"])) == ("https://a", b"PEM")


async def test_a_relative_command_lies_beside_the_kubeconfig(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.answer(token="t")
    assert (await script.runner(command="./plugin.sh").credential()).token == "t"


async def test_of_many_who_ask_one_runs_it_and_all_have_it_until_it_expires(tmp_path: Path) -> None:
    script, clock_s = Script(tmp_path), [1_700_000_000.0]
    script.answer(token="t", expirationTimestamp="2023-11-14T22:14:20Z")  # in a minute
    runner = script.runner(clock_s)
    found = await asyncio.gather(*(runner.credential() for _ in range(20)))
    assert ({credential.token for credential in found}, script.runs) == ({"t"}, 1)
    script.answer(token="u")
    clock_s[0] += 40
    assert ((await runner.credential()).token, script.runs) == ("t", 1)
    clock_s[0] += 15
    assert ((await runner.credential()).token, script.runs) == ("u", 2)
    clock_s[0] += 1e8
    assert ((await runner.credential()).token, script.runs) == ("u", 2)


async def test_what_has_expired_already_is_not_asked_for_in_a_row(tmp_path: Path) -> None:
    script, clock_s = Script(tmp_path), [1_700_000_000.0]
    script.answer(token="t", expirationTimestamp="2020-01-01T00:00:00Z")
    runner = script.runner(clock_s)
    for _ in range(3):
        await runner.credential()
    assert script.runs == 1
    clock_s[0] += module.REST_S
    await runner.credential()
    assert script.runs == 2


async def test_refused_credentials_are_renewed_unless_they_are_fresh(tmp_path: Path) -> None:
    script, clock_s = Script(tmp_path), [0.0]
    script.answer(token="t")
    runner = script.runner(clock_s)
    first = await runner.credential()
    assert not runner.refused(first)
    clock_s[0] += module.REST_S
    assert runner.refused(first)
    second = await runner.credential()
    assert runner.refused(first), "somebody has renewed them already"
    assert (await runner.credential(), script.runs) == (second, 2)


async def test_a_clock_that_is_set_back_makes_no_rest_longer(tmp_path: Path) -> None:
    script, clock_s, steady_s = Script(tmp_path, "exit 1"), [1e9], [0.0]
    runner = script.runner(clock_s, steady_s)
    await refusal(runner)
    clock_s[0] -= 3600
    steady_s[0] += module.REST_S
    await refusal(runner)
    assert script.runs == 2


async def test_a_failing_plugin_is_quoted_and_left_alone_for_a_while(tmp_path: Path) -> None:
    script, clock_s = Script(tmp_path, 'echo "please log in" >&2; exit 3'), [0.0]
    runner = script.runner(clock_s)
    for _ in range(3):
        assert (await refusal(runner)).endswith("cannot be used: it ended with status 3: please log in")
    assert script.runs == 1
    clock_s[0] += module.REST_S
    await refusal(runner)
    assert script.runs == 2


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "no word why"),
        ("echo hello", "no ExecCredential"),
        ("kill -9 $$", "status -9"),
        ("yes", "bytes of output"),
        ("yes >&2 & exit 4", "no answer within"),
        ("sleep 600", "no answer within"),
    ],
)
async def test_plugins_that_misbehave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    if "answer" in why:
        monkeypatch.setattr(module, "RUN_S", 0.2)
    async with asyncio.timeout(DEADLINE_S):
        assert why in await refusal(Script(tmp_path, script).runner())


async def test_one_that_is_not_there_says_how_to_install_it(tmp_path: Path) -> None:
    runner = Script(tmp_path).runner(command="no-such-program", installHint="apt install it")
    assert await refusal(runner) == (
        "the credential plugin 'no-such-program' cannot be used: No such file or directory (apt install it)"
    )


async def test_tokens_of_a_real_server(space: Space, tmp_path: Path) -> None:
    """The second token is asked for when the first is refused, without a word of trouble."""
    script = Script(tmp_path)
    script.answer(token="made-up")
    config = space.server.kubeconfig(space.name, {"exec": script.entry()})
    client = ApiClient(find_access({"KUBECONFIG": str(config)}))
    with pytest.raises(RefusedError, match="Unauthorized"):
        await client.get(space.pods, 10)
    assert script.runs == 1
    script.answer(token="picker-token")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REST_S", 0.0)
        assert await client.get(space.pods, 10)
    assert await client.get(space.pods, 10)
    assert script.runs == 2


@pytest.mark.parametrize("kind", ["token", "certificate"])
async def test_pods_are_found_with_what_a_plugin_hands_out(space: Space, tmp_path: Path, kind: str) -> None:
    script = Script(tmp_path)
    if kind == "token":
        script.answer(token="picker-token")
    else:
        pair = space.server.authority.issue(f"plugin-{space.name}", "picker")
        script.answer(clientCertificateData=pair.cert.read_text(), clientKeyData=pair.key.read_text())
    space.add_pool()
    space.add("w", "10.0.0.1")
    async with space.discovered({"exec": script.entry()}) as discovery:
        await settles(discovery, {"10.0.0.1:8000"})
    assert script.runs == 1


async def test_the_words_of_a_failing_plugin_are_in_the_readiness_details(
    space: Space, tmp_path: Path
) -> None:
    script = Script(tmp_path, "echo log in first >&2; exit 1")
    async with space.discovered({"exec": script.entry()}) as discovery:
        await eventually(lambda: "status 1: log in first" in (discovery.problem or ""))


async def test_a_picker_serves_with_what_its_plugin_hands_out(space: Space, tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.answer(token="picker-token")
    space.add_pool()
    space.add("w", "10.0.0.1")
    async with running(space, tmp_path, {"exec": script.entry()}) as picker:
        await until(lambda: picker.discovers("ok"))
