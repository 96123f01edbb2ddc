"""Arguments to subcommand."""

import pytest

from epp import __version__
from epp.cli import main


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Which command ran with which arguments."""
    ran: list[tuple[str, list[str]]] = []

    def load(name: str) -> object:
        def run(argv: list[str]) -> int:
            ran.append((name, argv))
            return 7

        return run

    monkeypatch.setattr(main, "_load", load)
    return ran


def test_flags_alone_serve(chosen: list[tuple[str, list[str]]]) -> None:
    assert main.run(["--grpc-port", "1"]) == 7
    assert main.run(["serve", "--grpc-port", "1"]) == 7
    assert chosen == [("serve", ["--grpc-port", "1"])] * 2


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    assert "explain" in capsys.readouterr().out
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"epp {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["nonsense"]])
def test_what_it_does_not_know_goes_to_standard_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: epp COMMAND" in captured.err


def test_every_command_can_be_loaded() -> None:
    for name in main._COMMANDS:
        assert callable(main._load(name))
