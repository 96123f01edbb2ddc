"""Kinds: what text and scalars become, and what is refused."""

import pytest

from epp.config.kinds import BOOLEAN, PORT, TEXT, choice, many, real, seconds, size_bytes, whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30.0),
        ("50ms", 0.05),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("250us", 0.00025),
        ("7", 7.0),
        ("0.5", 0.5),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(0.0).parse(text) == pytest.approx(expected)


def test_a_bare_number_has_the_unit_the_setting_says() -> None:
    assert seconds(0.0, bare_unit="ms").parse("5000") == 5.0
    assert seconds(0.0, bare_unit="ms").parse("5s") == 5.0


@pytest.mark.parametrize("text", ["", "s", "30", "x", "-5s", "5 s", "nan", "inf", "5s5", "\u0663s"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        seconds(0.0, 10.0).parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64MiB", 2**26),
        ("64Mi", 2**26),
        ("25MB", 25_000_000),
        ("10k", 10_000),
        ("4096", 4096),
        ("1.5Ki", 1536),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert size_bytes(0).parse(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1e9", "10XB", "9" * 50])
def test_not_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        size_bytes(0).parse(text)


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "on", "t"])
def test_true(text: str) -> None:
    assert BOOLEAN.parse(text) is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
def test_false(text: str) -> None:
    assert BOOLEAN.parse(text) is False


@pytest.mark.parametrize("text", ["65536", "-1", "8000.0", "0x10", "1_000", "\uff19", "1" * 40])
def test_not_ports(text: str) -> None:
    with pytest.raises(ValueError, match="whole number from 0 to 65535"):
        PORT.parse(text)


def test_reals_are_finite_and_bounded() -> None:
    assert real(0.0, 1.0).parse("0.25") == 0.25
    for text in ("nan", "inf", "1.01", "x"):
        with pytest.raises(ValueError, match="must be a number"):
            real(0.0, 1.0).parse(text)


def test_choices_and_lists() -> None:
    assert choice("a", "b").parse("b") == "b"
    assert many(whole(1, 9), 3).parse("1, 2,3") == (1, 2, 3)
    for text in ("", ",", "1,2,3,4", "1,x"):
        with pytest.raises(ValueError, match="must be"):
            many(whole(1, 9), 3).parse(text)


@pytest.mark.parametrize(
    ("kind", "value"), [(PORT, True), (PORT, 1.5), (TEXT, True), (TEXT, 5), (BOOLEAN, 1), (TEXT, None)]
)
def test_scalars_of_a_wrong_type_are_refused(kind: object, value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        kind.read_scalar(value)  # type: ignore[attr-defined]  # kinds in a parametrized list


def test_scalars_of_a_file() -> None:
    assert PORT.read_scalar(9002) == PORT.read_scalar("9002") == 9002
    assert BOOLEAN.read_scalar(False) is False
    assert real(0.0).read_scalar(2) == 2.0
