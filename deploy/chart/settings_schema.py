"""Which settings may stand under ``settings``? The schema of the Settings model, for a ConfigMap.

What differs from the model: a port has to be a fixed one; what a pod would refuse at its start is
refused here, and so is what the rendered objects could not hold; the descriptions of what may hold
a credential say where it belongs instead (the chart's templates refuse it with the same advice).
"""

from __future__ import annotations

import re
from typing import Any

from konduktor_health.settings import SHARD_LABEL, SHARD_VALUE, Settings

_ELSEWHERE = {
    ("LokiSettings", "password"): "Refused here: see lokiAccess.passwordSecret.",
    (
        "LokiSettings",
        "headers",
    ): "Extra request headers; credentials: see lokiAccess.headersSecret.",
    ("LokiSettings", "token_file"): "Set by lokiAccess.tokenSecret.",
    ("LokiSettings", "ca_file"): "Set by lokiAccess.ca.",
}

_NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
TENANT = {"type": "string", "pattern": "^[ -~]*$"}
# What the types do not say, by group and name.
_PATTERNS = {
    ("LokiSettings", "url"): r"^https?://[^/\s]+\S*$",
    ("LokiSettings", "tenant"): TENANT["pattern"],
    ("ReadingSettings", "cluster_label"): "^[a-zA-Z_][a-zA-Z0-9_]*$",
    ("ClusterSettings", "namespace"): "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$",
    ("ClusterSettings", "key_prefix"): f"^{_NAME}$",
    ("LeaseSettings", "name"): f"^{_NAME}$",
    ("ShardSettings", "label"): f"^{SHARD_LABEL}$",
    ("ShardSettings", "value"): f"^{SHARD_VALUE}$",
}


def settings_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """Schema of ``settings``, and the definitions that it refers to."""
    schema = _cleaned(Settings.model_json_schema())
    definitions = schema.pop("$defs")
    for (group, name), text in _ELSEWHERE.items():
        definitions[group]["properties"][name]["description"] = text
    port = definitions["HttpSettings"]["properties"]["port"]
    port.update(minimum=1, description="Port; the probes and the Service follow it.")
    for (group, name), pattern in _PATTERNS.items():
        definitions[group]["properties"][name]["pattern"] = pattern
    label = definitions["ReadingSettings"]["properties"]["cluster_label"]
    label["not"] = {"enum": ["job", "node"]}  # the probe's own labels
    schema["description"] = "Settings of the controller (docs/reference/settings.md)."
    return schema, definitions


def _cleaned(node: Any) -> Any:
    """Without titles, defaults of whole groups, and formats that no validator knows."""
    if isinstance(node, list):
        return [_cleaned(item) for item in node]
    if not isinstance(node, dict):
        return node
    dropped = {"writeOnly"}
    if isinstance(node.get("title"), str):
        dropped.add("title")
    if "$ref" in node and isinstance(node.get("default"), dict):
        dropped.add("default")
    if node.get("format") in ("path", "password"):
        dropped.add("format")
    cleaned = {key: _cleaned(value) for key, value in node.items() if key not in dropped}
    if isinstance(cleaned.get("description"), str):  # what only developers can look up goes
        cleaned["description"] = re.sub(r" \(docs/[^)]*\)", "", cleaned["description"])
    return cleaned
