"""Which settings are there? Read from konduktor_health.settings."""

from __future__ import annotations

import inspect
import json
import re
from enum import Enum
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from docs.pages.kinds import kind_of
from docs.pages.tables import code, table
from konduktor_health import settings

_SETTINGS_TEXT = """
# Settings

Where a value comes from, lowest first: the default below, the YAML file, an environment
variable, a command-line flag. An unknown key, or an unknown variable with our prefix, is an
error (exit code 2).

The YAML file is named with `--config` or `KONDUKTOR_HEALTH_CONFIG`. It nests as the keys do:

```yaml
loki:
  url: http://localhost:3100
policy:
  budget_percent: 5
watched_namespaces: [default, training]
```

In the environment `loki.url` is `KONDUKTOR_HEALTH_LOKI__URL` (two underscores between group and
name). Lists and mappings are JSON there; `watched_namespaces` also takes `default,training`.

These variables are honoured as Konduktor's controller does. They rank above the YAML file and
below our own variables.

"""
_KONDUKTOR_VARIABLES = (
    ("`LOG_ENDPOINT`", "`loki.url`"),
    ("`WATCHED_NAMESPACES`", "`watched_namespaces`"),
    ("`KONDUKTOR_DEBUG`", "`1` is `debug: true`"),
)


def settings_page() -> str:
    """Every setting with its variable, type, default and meaning."""
    parts = [_SETTINGS_TEXT.lstrip(), table(("variable", "setting"), _KONDUKTOR_VARIABLES)]
    plain: list[tuple[str, FieldInfo]] = []
    groups: list[tuple[str, type[BaseModel], str]] = []
    for name, info in settings.Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            groups += _group(f"{name}.", info.annotation)
        else:
            plain.append((name, info))
            for item in get_args(info.annotation):
                if isinstance(item, type) and issubclass(item, BaseModel):
                    groups.append((f"{name}[].", item, "One entry of the list. "))
    parts.append("\n## Top level\n\n" + _setting_rows("", plain))
    for prefix, model, note in groups:
        own = [each for each in model.model_fields.items() if _model_of(each[1]) is None]
        rows = _setting_rows(prefix, own)
        title = code(prefix.rstrip("."))
        parts.append(f"\n## {title}\n\n{note}{_about(model)}\n\n{rows}")
    return "".join(parts)


def _group(prefix: str, model: type[BaseModel]) -> list[tuple[str, type[BaseModel], str]]:
    """A group, and those within it."""
    found = [(prefix, model, "")]
    for name, info in model.model_fields.items():
        if inner := _model_of(info):
            found += _group(f"{prefix}{name}.", inner)
    return found


def _model_of(info: FieldInfo) -> type[BaseModel] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _about(model: type[BaseModel]) -> str:
    """The group's docstring, without what only developers can look up."""
    return re.sub(r" \(docs/[^)]*\)", "", inspect.getdoc(model) or "")


def _setting_rows(prefix: str, fields: list[tuple[str, FieldInfo]]) -> str:
    rows = []
    for name, info in fields:
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            continue  # a group of its own
        in_list = "[]" in prefix
        variable = settings.ENV_PREFIX + (prefix.replace(".", "__") + name).upper()
        rows.append(
            (
                code(prefix + name),
                "" if in_list else code(variable),
                kind_of(info.annotation, info.metadata),
                _default(info),
                info.description or "",
            )
        )
    return table(("key", "variable", "type", "default", "meaning"), rows)


def _default(info: FieldInfo) -> str:
    value = info.default
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple):
        shown = [
            each.model_dump(exclude_unset=True) if isinstance(each, BaseModel) else each
            for each in value
        ]
        return code(shown).replace("'", '"').replace("True", "true") if shown else ""
    if value is None or value == {} or isinstance(value, SecretStr):
        return ""
    if isinstance(value, dict):
        return code(json.dumps(value))
    return code(str(value).lower() if isinstance(value, bool) else value)
