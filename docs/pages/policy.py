"""What may a policy file say, and what do the presets do? Read from konduktor_health.policy."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.pages.kinds import kind_of
from docs.pages.tables import code, table
from konduktor_health.cli.policy_show import row
from konduktor_health.model import Policy
from konduktor_health.policy.comparing import differences
from konduktor_health.policy.compiling import preset_policy
from konduktor_health.policy.conditions import VARIABLES
from konduktor_health.policy.document import PolicyDocument
from konduktor_health.policy.durations import written
from konduktor_health.policy.known import Known
from konduktor_health.policy.presets import PRESETS
from konduktor_health.treatment import Rule

_TEXT = """
# Policy file

What is done about which fault, and how much of it. One YAML file, named by the setting
`policy_file`; [Write a policy](../guides/write-a-policy.md) is a guide to it,
[The policy file](../design/policy-file.md) says why it is so. `konduktor-health policy check FILE`
tells every mistake with line and column, `policy show` what comes out.

Without a file the preset `default` holds, with the limits of the [settings](settings.md).

- **Rules** stand in order; the first that matches a fault decides. The order is: the rule
  `operator` (what a person recorded is cleared by a person), the rules of the file, those of the
  preset. A rule of the file that matches everything ends the list.
- **Limits** that the file does not say are those of the settings that were given (file,
  environment, flags), else of the preset, else the defaults.
- **Durations** are `90s`, `10m`, `24h`, `30d`, `1h30m`, or seconds as a number.
- **What holds whatever a policy says**: pod lines never act, budgets never block clearing, what
  others did to a Node is left alone ([Safety](../concepts/safety.md)).

A changed file is taken up within 5 seconds, and every node with a ledger or our taint is decided
again. A wrong one changes nothing: the policy before it holds, the log says why once, and
`konduktor_health_policy_broken` is 1. At the start it is an error (exit code 2).

At most 1 MiB, 200 rules, 100 pools. YAML aliases and tags are not taken.
"""
_CONDITIONS = """
## Conditions

`match.when` is an expression of [CEL](https://cel.dev) that gives true or false, of at most 1,000
characters. It may use:

"""
_CONDITIONS_AFTER = """
When the file is read, each condition is compiled (a wrong name or type is found with its line) and
tried on every known fault. One that fails all the same on a node counts as not met; it is logged
once and counted in `konduktor_health_policy_condition_errors_total`. A label that a node may not
have is asked for first: `"zone" in labels && labels["zone"] == "a"`.
"""
_PRESETS = """
## Presets

"""
_PRESETS_AFTER = """
No preset uses `NoExecute`, and in none do pod lines act: Konduktor taints a node for
`invalid device ordinal` in any pod's log, `konduktor-compatible` does not, since such a line proves
nothing about the node. Codes that the catalog does not have are shown and do not act. Faults of a
program, such as Xid 13, are verified and do not act either: any job could so cost a node its place.
Both of the systems that the compatible presets are named after taint for them; a rule of your own
may (`severity: [application]`, `mode: act`), and `policy check` names rules that do.
`policy diff A B` tells what two presets or files do differently.

"""
_TESTS = """
## Cases

`tests` in the file, or in a file of its own (`version: 1`, `tests`), given with
`policy test --cases`.

"""


def policy_page() -> str:
    """Every key, the presets and their rules."""
    parts = [_TEXT.lstrip()]
    parts += [
        _section(path, model) for path, model in _models("", PolicyDocument) if path != "tests[]"
    ]
    parts += [_CONDITIONS, table(("name", "type", "meaning"), (
        (code(name), kind, meaning) for name, kind, meaning in VARIABLES
    )), _CONDITIONS_AFTER, _PRESETS, table(
        ("preset", "what it does", "known faults that it treats otherwise than default"), _presets()
    ), _PRESETS_AFTER]  # fmt: skip
    for name, preset in PRESETS.items():
        parts += [f"### {code(name.value)}\n\n", _rules(preset.rules), "\n"]
    parts[-1] = ""
    model = next(model for path, model in _models("", PolicyDocument) if path == "tests[]")
    return "".join(parts) + _TESTS + _fields("tests[].", model)


def _presets() -> Iterator[tuple[str, str, str]]:
    known = Known()
    for name, preset in PRESETS.items():
        policy = preset_policy(name, Policy())
        changed = len(differences(Policy(), policy, known))
        yield code(name.value), preset.meaning, str(changed) if changed else ""


def _rules(rules: Iterable[Rule]) -> str:
    head = ("rule", "matches", "mode", "effect", "repeat", "clears", "decay")
    rows = []
    for rule in rules:
        cells = row(rule)
        verify = rule.treatment.verify
        mode = cells[2] + (f", verify: {', '.join(verify)}" if verify else "")
        rows.append((code(cells[0]), cells[1].replace("*", "\\*"), mode, *cells[3:]))
    return table(head, rows)


def _section(path: str, model: type[BaseModel]) -> str:
    title = "## Top level" if not path else f"## {code(path)}"
    prefix = f"{path}." if path else ""
    return f"\n{title}\n\n{inspect.getdoc(model)}\n\n{_fields(prefix, model)}"


def _fields(prefix: str, model: type[BaseModel]) -> str:
    rows = (
        (code(prefix + name), _kind(info), _default(info), info.description or "")
        for name, info in model.model_fields.items()
    )
    return table(("key", "value", "default", "meaning"), rows)


def _models(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each part of the file by its path, in the order of the keys."""
    yield path, model
    for name, info in model.model_fields.items():
        part, is_list = _part(info.annotation)
        if part is not None:
            inner = f"{path}.{name}" if path else name
            yield from _models(inner + ("[]" if is_list else ""), part)


def _part(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for each in get_args(annotation):
        found, is_list = _part(each)
        if found is not None:
            return found, is_list or get_origin(annotation) is tuple
    return None, False


#: Words for values with a check of our own, by the check (konduktor_health.policy.values).
_WORDS = {
    "_duration": "duration",
    "_forever": "duration, or `never`",
    "_selection": "label selector",
    "_label_key": "label key",
    "_name": "name",
    "_time": "time",
}


def _kind(info: FieldInfo) -> str:
    part, is_list = _part(info.annotation)
    if part is not None:
        return "list of parts (below)" if is_list else "part (below)"
    return _shape(info.annotation, info.metadata)


def _shape(annotation: Any, checks: Iterable[Any] = ()) -> str:
    """What a value looks like. Checks stand beside the type, and may hold further ones."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(args[0], (*checks, *args[1:]))
    if origin in (Union, types.UnionType):
        return _shape(next(each for each in args if each is not type(None)), checks)
    if origin is tuple:
        return f"list of {_shape(args[0])}"
    if origin is dict:
        return f"mapping of {_shape(args[0])} to {_shape(args[1])}"
    flat = [inner for each in checks for inner in (getattr(each, "metadata", None) or [each])]
    names = [getattr(getattr(each, "func", None), "__name__", "") for each in flat]
    word = next((_WORDS[name] for name in names if name in _WORDS), "")
    if word:  # the largest is said in words
        return word + (", above 0" if any(getattr(each, "gt", None) == 0 for each in flat) else "")
    return kind_of(annotation, flat)


def _default(info: FieldInfo) -> str:
    value = info.default
    if info.is_required():
        return "must"
    if value is None or value in ((), {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, float):
        return code(written(value))
    return code(getattr(value, "value", value))
