"""``epp check``: what it prints and how it ends."""

import json
from pathlib import Path

import pytest

from epp.cli.check import run
from epp.cli.options import build_parser
from epp.config.settings import SETTINGS


def test_a_table_of_values_and_where_they_come_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("server: {metrics_port: 7777}\n")
    monkeypatch.setenv("EPP_GRPC_HEALTH_PORT", "7003")
    assert run(["--config-file", str(file), "--grpc-port=7002"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["server.grpc_port"].endswith("--grpc-port on the command line")
    assert lines["server.grpc_health_port"].endswith("EPP_GRPC_HEALTH_PORT in the environment")
    assert lines["server.metrics_port"].endswith(f"server.metrics_port in {file}")
    assert lines["server.max_streams"].endswith("the default")
    assert "7002" in lines["server.grpc_port"]


def test_json_has_profiles_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    text = "picker: {plugins: [{type: queue-scorer}, {type: decode-filter}]}"
    assert run(["--json", "--config-text", text, "--v=4", "--model-path=/m"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["settings"]["routing.policy"]["value"] == "scorers"
    assert report["settings"]["tokenize.models"]["value"][0]["path"] == "/m"
    assert report["profiles"] == [
        {
            "name": "default",
            "filters": ["decode-filter"],
            "scorers": {"queue-scorer": 1.0},
            "picker": "max-score-picker",
        }
    ]
    assert len(report["warnings"]) == 1


@pytest.mark.parametrize(
    "argv", [["--grpc-port=x"], ["--config-text", "picker: {plugins: [{type: nothing-of-ours}]}"]]
)
def test_problems_end_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run([*argv, "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert len(report["problems"]) == 1


def test_help_names_every_flag_and_hides_those_of_other_pickers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert [setting.flag for setting in SETTINGS if setting.flag and f"--{setting.flag}" not in text] == []
    assert "zap" not in text
    assert build_parser("epp serve").format_help().startswith("usage: epp serve [flags]")
