"""Arguments of ``epp conformance``."""

import pytest

from epp.cli.conformance import run


def test_the_list_of_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--list", "--only", "subset."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("subset.one                      required     A hint that names one endpoint")
    assert all(line.startswith("subset.") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing-like-it"], "no case's id"),
        (["--target", "9002"], "is not HOST:PORT"),
        (["--endpoint", "fd00::1:80"], "brackets"),
        (["--health-target", "host"], "is not HOST:PORT"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "nan"], "--timeout"),
        (["--plaintext", "--insecure"], "not allowed with"),
        (["--body-mode", "streamed"], "invalid choice"),
    ],
)
def test_wrong_arguments(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
