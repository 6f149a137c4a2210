"""What does docs/reference/chart.md say? head.md, and a table of every value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from deploy.chart.annotated import Value
from deploy.chart.values_schema import shape_name
from docs.pages.tables import code, table

HEAD = Path(__file__).parent / "head.md"


def render(values: Iterable[Value]) -> str:
    """The page."""
    parts = [HEAD.read_text(encoding="utf-8"), "\n## Values\n"]
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for value in values:
        first, dot, _ = value.path.partition(".")
        row = (code(value.path), shape_name(value), _default(value), value.meaning)
        sections.setdefault(first if dot else "", []).append(row)
    for name, rows in sections.items():
        title = f"\n### {code(name)}\n\n" if name else "\n"
        parts.append(title + table(("value", "type", "default", "meaning"), rows))
    return "".join(parts)


def _default(value: Value) -> str:
    if value.default in ("", {}, []):
        return ""
    text = value.default if isinstance(value.default, str) else json.dumps(value.default)
    return code(text)
