"""Every story that hurt users elsewhere is in the table of docs/design/decide.md, with its test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_table_names_every_story_and_no_other() -> None:
    page = (ROOT / "docs/design/decide.md").read_text()
    _, _, table = page.partition("## Stories that hurt users elsewhere")
    listed = re.findall(r"^\| .+ \| `(test_\w+)` \|$", table, re.MULTILINE)
    written = [
        each.name
        for path in re.findall(r"`(tests/unit/runtime/test_stories_of_\w+\.py)`", table)
        for each in ast.parse((ROOT / path).read_text()).body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    ]
    assert len(written) > 50
    assert listed == written
