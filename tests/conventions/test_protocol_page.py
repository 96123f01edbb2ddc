"""docs/protocol.md says what the tables say."""

from .protocol_page import PAGE, PARTS, render


def test_the_page_is_fresh() -> None:
    page = PAGE.read_text()
    assert render(page) == page, "run: python -m tests.conventions.protocol_page"


def test_every_part_says_something() -> None:
    assert all(len(part()) > 100 for part in PARTS.values())
