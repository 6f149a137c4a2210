"""What does a patch make of an object? Merge, strategic merge and JSON patch.

All three are pure: the given objects are never changed, the result shares nothing with the patch
that a later write could alter.
"""

from __future__ import annotations

import copy
from typing import Any

from konduktor_health.sandbox.kubeapi.status import Json, bad_request, rejected_patch

# Lists that a strategic merge patch merges by a key; every other list is replaced as a whole
# (taints and tolerations among them). Names are unambiguous within the served resources.
MERGE_KEYS = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "ports": "containerPort",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
PRIMITIVE_SETS = frozenset({"finalizers", "podCIDRs"})
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"
_MISSING = object()


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target: Json, patch: Json) -> Json:
    """Kubernetes' strategic merge patch with the directives that kubectl sends."""
    directive = patch.get("$patch")
    if directive == "replace":
        return copy.deepcopy({k: v for k, v in patch.items() if k != "$patch"})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown $patch directive: {str(directive)[:50]}")
    result = dict(target)
    retain = patch.get("$retainKeys")
    if isinstance(retain, list):
        result = {key: value for key, value in result.items() if key in retain}
    for key, value in patch.items():
        if key.startswith(_REMOVE):
            name = key[len(_REMOVE) :]
            result[name] = [v for v in result.get(name) or [] if v not in value]
        elif not key.startswith("$"):
            _strategic_field(result, key, value)
    for name in {key.removeprefix(_ORDER) for key in patch if isinstance(patch[key], list)}:
        if isinstance(result.get(name), list) and (name in MERGE_KEYS or name in PRIMITIVE_SETS):
            order = patch.get(_ORDER + name, patch.get(name)) or []
            result[name] = _ordered(result[name], target.get(name) or [], order, name)
    return result


def _strategic_field(result: Json, key: str, value: Any) -> None:
    old = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        merged = strategic(old if isinstance(old, dict) else {}, value)
        if value.get("$patch") == "delete":
            result.pop(key, None)
        else:
            result[key] = merged
    elif isinstance(value, list) and key in PRIMITIVE_SETS:
        result[key] = list(dict.fromkeys([*(old or []), *value]))
    elif isinstance(value, list) and key in MERGE_KEYS:
        result[key] = _merge_list(list(old or []), value, MERGE_KEYS[key], key)
    else:
        result[key] = _without_directives(value)


def _merge_list(old: list[Any], patch: list[Any], by: str, name: str) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [
            copy.deepcopy(item)
            for item in patch
            if not (isinstance(item, dict) and item.get("$patch") == "replace")
        ]
    result = old
    for item in patch:
        if not isinstance(item, dict) or by not in item:
            raise bad_request(
                f"map: {str(item)[:100]} does not contain declared merge key: {by} ({name})"
            )
        at = next((i for i, have in enumerate(result) if have.get(by) == item[by]), None)
        if item.get("$patch") == "delete":
            result = [have for have in result if have.get(by) != item[by]]
        elif at is None:
            result.append(strategic({}, item))
        else:
            result[at] = strategic(result[at], item)
    return result


def _without_directives(value: Any) -> Any:
    """An atomic value; a list whose only job is ``$patch: replace`` loses the directive."""
    if isinstance(value, list):
        kept = [v for v in value if not (isinstance(v, dict) and "$patch" in v)]
        return [copy.deepcopy(v) for v in kept]
    return copy.deepcopy(value)


def _ordered(items: list[Any], old: list[Any], order: list[Any], name: str) -> list[Any]:
    """Put merged items where the real server puts them: those of the patch in its order, each
    of the others before the first patched item that it stood before."""
    by = MERGE_KEYS.get(name)

    def key_of(item: Any) -> Any:
        return item.get(by) if by and isinstance(item, dict) else item

    wanted, before = [key_of(item) for item in order], [key_of(item) for item in old]
    patched = sorted(
        (item for item in items if key_of(item) in wanted),
        key=lambda item: wanted.index(key_of(item)),
    )
    others = [item for item in items if key_of(item) not in wanted]
    result: list[Any] = []
    while patched and others:
        new = key_of(patched[0]) not in before
        first = new or before.index(key_of(patched[0])) < before.index(key_of(others[0]))
        result.append((patched if first else others).pop(0))
    return [*result, *patched, *others]


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902. A failed ``test`` and an operation that does not fit give ApiError 422."""
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    document: Any = copy.deepcopy(target)
    for operation in operations:
        document = _operate(document, operation)
    if not isinstance(document, dict):
        raise rejected_patch()
    return document


def _operate(document: Any, operation: Json) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _put(document, path, copy.deepcopy(operation.get("value")), insert=True)
        case "replace":  # of a missing key too, as the real server does
            return _put(document, path, copy.deepcopy(operation.get("value")), insert=False)
        case "remove":
            return _cut(document, path)
        case "test":
            have = _get(document, path)
            if (None if have is _MISSING else have) != operation.get("value"):
                raise rejected_patch()
            return document
        case "copy" | "move" as op:
            source = _pointer(operation.get("from"))
            value = _get(document, source)
            if value is _MISSING:
                raise rejected_patch()
            value = copy.deepcopy(value)
            if op == "move":
                document = _cut(document, source)
            return _put(document, path, value, insert=True)
    raise rejected_patch()


def _pointer(text: Any) -> list[str]:
    if text == "":
        return []
    if not isinstance(text, str) or not text.startswith("/"):
        raise rejected_patch()
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(items: list[Any], key: str, *, end: bool) -> int:
    if key == "-" and end:
        return len(items)
    if not key.isdigit() or int(key) >= len(items) + (1 if end else 0):
        raise rejected_patch()
    return int(key)


def _get(document: Any, path: list[str]) -> Any:
    for key in path:
        if isinstance(document, dict):
            document = document.get(key, _MISSING)
        elif isinstance(document, list) and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return _MISSING
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif isinstance(parent, list) and insert:
        parent.insert(_index(parent, path[-1], end=True), value)
    elif isinstance(parent, list):
        parent[_index(parent, path[-1], end=False)] = value
    else:
        raise rejected_patch()
    return document


def _cut(document: Any, path: list[str]) -> Any:
    parent = _get(document, path[:-1]) if path else _MISSING
    if isinstance(parent, dict) and path[-1] in parent:
        del parent[path[-1]]
    elif isinstance(parent, list):
        del parent[_index(parent, path[-1], end=False)]
    else:
        raise rejected_patch()
    return document
