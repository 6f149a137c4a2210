from __future__ import annotations

from pathlib import Path

from tests.support import tool_output

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "probe-tools.md"


def files() -> set[str]:
    paths = (path for path in tool_output.FIXTURES.rglob("*") if path.is_file())
    return {path.relative_to(tool_output.FIXTURES).as_posix() for path in paths} - {"origins.json"}


def test_each_fixture_names_its_origin() -> None:
    assert files() == set(tool_output.origins())


def test_an_origin_is_public_or_the_fixture_is_synthetic() -> None:
    for name, origin in tool_output.origins().items():
        kind, source = origin["kind"], origin["source"]
        assert kind in ("recorded", "derived", "emulated", "synthetic"), name
        assert kind not in ("recorded", "derived") or source.startswith("https://"), name
        assert origin["tool"], name


def test_the_page_names_each_source_and_each_tool_without_a_recorded_output() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sources = {
        origin["source"]
        for origin in tool_output.origins().values()
        if origin["kind"] in ("recorded", "derived")
    }
    recorded = {o["tool"] for o in tool_output.origins().values() if o["kind"] == "recorded"}
    unproven = {o["tool"] for o in tool_output.origins().values()} - recorded
    below = page.split("## Unproven", 1)[1]

    assert [source for source in sources if source not in page] == []
    assert [tool for tool in unproven if f"`{tool}`" not in below] == []
