"""The reference page is what the table says."""

from pathlib import Path

from frontend.config.reference import render

PAGE = Path(__file__).parents[4] / "docs" / "frontend-configuration.md"


def test_the_page_is_fresh() -> None:
    again = "run: python -m frontend.config.reference > docs/frontend-configuration.md"
    assert PAGE.read_text() == render(), again
