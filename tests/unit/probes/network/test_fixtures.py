from __future__ import annotations

from pathlib import Path

from tests.support import network_checks

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "network-checks.md"


def test_each_fixture_names_its_origin() -> None:
    paths = (path for path in network_checks.FIXTURES.rglob("*") if path.is_file())
    files = {path.relative_to(network_checks.FIXTURES).as_posix() for path in paths}
    assert files - {"origins.json"} == set(network_checks.origins())


def test_an_origin_is_public_or_ours_or_the_fixture_is_synthetic() -> None:
    for name, origin in network_checks.origins().items():
        known = origin["source"].startswith(("https://", "this repository: "))
        assert origin["kind"] in ("recorded", "derived", "synthetic"), name
        assert known or origin["kind"] == "synthetic", name
        assert origin["tool"], name


def test_the_page_names_each_source_and_what_was_never_seen_for_real() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sources = {o["source"] for o in network_checks.origins().values()}
    assert [s for s in sources if s.startswith("https://") and s not in page] == []
    assert "`journalctl -o json`" in page.split("## Unproven", 1)[1]
