"""The committed page is what the declarations say."""

from pathlib import Path

from frontend.telemetry.reference import render

PAGE = Path(__file__).parents[4] / "docs" / "frontend-metrics.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), (
        "run: python -m frontend.telemetry.reference > docs/frontend-metrics.md"
    )
