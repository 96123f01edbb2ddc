"""What the image holds runs without rights, and keeps the protocol."""

import json
from pathlib import Path

from epp.testing.process import ChildProcess
from epp.testing.vocab import build_model_dir
from tests.integration.conformance.conftest import command, ids, until_ready

from .conftest import Image

_PORTS = ("--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--bind-address=127.0.0.1")
_MODEL = ("--model-path=/tmp/model", "--model-name=m")
_SERVERS = ("127.0.0.1:8101", "127.0.0.2:8101")


def test_nobody_with_nothing(image: Image) -> None:
    assert image.run("id", "-u").stdout == "65532\n"
    assert image.run("touch", "/opt/epp/x").returncode != 0
    assert image.run("sh", "-c", "command -v gcc").returncode != 0


def test_the_commands(image: Image) -> None:
    version = image.run("epp", "--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert image.run("frontend", "--help").stdout.startswith("usage: frontend")
    core = image.run("python", "-c", "import cabi; print(cabi.__name__)")
    assert (core.returncode, core.stdout) == (0, "cabi\n")


async def test_its_picker_keeps_the_protocol(image: Image, tmp_path: Path) -> None:
    model = build_model_dir(tmp_path / "model", "tiny")
    workers = tmp_path / "workers.json"
    entries = [
        {"name": f"w{at}", "address": server.split(":")[0], "port": 8101}
        for at, server in enumerate(_SERVERS)
    ]
    workers.write_text(json.dumps({"endpoints": entries}))
    flags = (*_PORTS, *_MODEL, "--endpoints-file=/tmp/workers", "--scrape-metrics=false")
    argv = image.argv("epp", "serve", *flags, workers=workers, model=model)
    async with ChildProcess("picker", argv, tmp_path / "picker.log") as picker:
        ports = picker.ready
        await until_ready(int(ports["metrics_port"]))
        status, output, _ = await command(
            *("--target", f"127.0.0.1:{ports['grpc_port']}", "--model", "m", "--json"),
            *("--health-target", f"127.0.0.1:{ports['health_port']}"),
            *(word for server in _SERVERS for word in ("--endpoint", server)),
        )
    report = json.loads(output)
    assert ids(report, "FAIL", "required") == set()
    assert status == 0
    assert {"body.large", "subset.one"} < ids(report, "PASS", "required")
