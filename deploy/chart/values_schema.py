"""What may the chart's values be? values.schema.json, from values.yaml and the Settings model.

The type of a value is that of its default; ``_SHAPES`` says what a default cannot: limits,
choices, and what is in a list or mapping. Unknown keys are refused, but for what Kubernetes
defines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deploy.chart.annotated import Value
from deploy.chart.settings_schema import TENANT, settings_schema

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_OPEN: Schema = {"type": "object"}
# Of Kubernetes' own: labels are limited so that no selector label is replaced.
_NAME: Schema = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"}
# A Service is called so, too: no dots, and a letter first. The rest of 63 is for what is appended.
_SERVICE_NAME: Schema = {"type": "string", "pattern": "^([a-z]([-a-z0-9]{0,48}[a-z0-9])?)?$"}
_KEY = "^[-._A-Za-z0-9]+$"  # of a Secret or ConfigMap
_ANNOTATIONS: Schema = {"type": "object", "additionalProperties": _TEXT}
_OURS = (
    *(f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of")),
    *(f"app.kubernetes.io/{name}" for name in ("version", "managed-by")),
    "helm.sh/chart",
)
_LABELS: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": "string",
        "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$",
    },
    # not by propertyNames: its message does not say where
    "properties": dict.fromkeys(_OURS, False),
}
_QUANTITIES: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number"], "pattern": "^[0-9.]+[A-Za-z]*$"},
}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_SECONDS: Schema = {"type": "integer", "minimum": 0, "maximum": 3600}
_PEERS: Schema = {"type": "array", "items": {"$ref": "#/$defs/NetworkPolicyPeer"}}
_TOLERATIONS: Schema = {"type": "array", "items": {"$ref": "#/$defs/Toleration"}}
_ENV: Schema = {"type": "array", "items": {"$ref": "#/$defs/EnvVar"}}
_PRIORITY: Schema = {"type": "integer", "minimum": -1000000000, "maximum": 1000000000}
_URL: Schema = {"type": "string", "pattern": r"^(https?://[^/\s]+\S*)?$"}

_SHAPES: dict[str, Schema] = {
    "nameOverride": _SERVICE_NAME,
    "fullnameOverride": _SERVICE_NAME,
    "imageRegistry": {
        "type": "string",
        "pattern": "^([A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?(/[a-z0-9][-._a-z0-9]*)*/?)?$",
    },
    "labels": _LABELS,
    "imagePullSecrets": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"type": "string", "description": "Name of the Secret."}},
        },
    },
    "rules": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "content": {"type": "string", "description": "The rules file, as text."},
            "existingConfigMap": {
                **_NAME,
                "description": "Name of a ConfigMap with the key rules.yaml.",
            },
        },
    },
    "policy": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "content": {"type": "string", "description": "The policy file, as text."},
            "existingConfigMap": {
                **_NAME,
                "description": "Name of a ConfigMap with the key policy.yaml.",
            },
        },
    },
    "gpuNodeLabels": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[A-Za-z0-9][-A-Za-z0-9_./]*$"},
    },
    "controller.replicas": {"type": "integer", "minimum": 1, "maximum": 10},
    "controller.readinessPath": {"enum": ["/readyz", "/healthz"]},
    # a Deployment is given up after 600 seconds, and has to be ready for longer than that
    "controller.minReadySeconds": {**_SECONDS, "maximum": 300},
    # below it, the process could not write its state down
    "controller.terminationGracePeriodSeconds": {**_SECONDS, "minimum": 5},
    "controller.topologySpreadConstraints": {"type": "array", "items": _OPEN},
    "controller.affinity": {"$ref": "#/$defs/Affinity"},
    "serviceAccount.name": _NAME,
    "serviceAccount.annotations": _ANNOTATIONS,
    "metrics.service.port": _PORT,
    "metrics.service.annotations": _ANNOTATIONS,
    "metrics.serviceMonitor.interval": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
    "metrics.serviceMonitor.labels": _LABELS,
    "priorityClasses.controller.name": _NAME,
    "priorityClasses.controller.value": _PRIORITY,
    "priorityClasses.probe.name": _NAME,
    "priorityClasses.probe.value": _PRIORITY,
    "priorityClasses.jobs.name": _NAME,
    "priorityClasses.jobs.value": _PRIORITY,
    "priorityClasses.preemptionPolicy": {"enum": ["Never", "PreemptLowerPriority"]},
    "networkPolicy.metricsFrom": _PEERS,
    "networkPolicy.kubernetesPorts": {"type": "array", "items": _PORT},
    "networkPolicy.extraEgress": {"type": "array", "items": _OPEN},
    "lokiNetworkPolicy.namespace": {**_NAME, "minLength": 1},
    "lokiNetworkPolicy.podLabels": _ANNOTATIONS,
    "lokiNetworkPolicy.port": _PORT,
    "lokiNetworkPolicy.peers": _PEERS,
    "probe.nodes": {"enum": ["gpu", "all"]},
    "probe.affinity": {"$ref": "#/$defs/Affinity"},
    "probe.maxUnavailable": {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"},
        ]
    },
    # below it, what is held for Loki could not be flushed
    "probe.terminationGracePeriodSeconds": {**_SECONDS, "minimum": 3},
    "probe.stateDirectory": {"type": "string", "pattern": "^(/[A-Za-z0-9_-][-._A-Za-z0-9]*)+$"},
    "probe.agent.port": _PORT,
    "probe.agent.runtimeClassName": _NAME,
    "probe.agent.lightSeconds": {"type": "integer", "minimum": 0, "maximum": 86400},
    "probe.agent.hourlySeconds": {"type": "integer", "minimum": 0, "maximum": 604800},
    "probe.agent.invasiveSeconds": {"type": "integer", "minimum": 0, "maximum": 2592000},
    "probe.agent.keys": _NAME,
    "probe.agent.userChecks": _NAME,
    "probe.agent.extraArgs": {"type": "array", "items": _TEXT},
    "probe.kmsg.heartbeatSeconds": {"type": "integer", "minimum": 1, "maximum": 86400},
    "probe.kmsg.push.url": _URL,
    "probe.kmsg.push.labels": {
        "type": "object",
        "additionalProperties": False,
        # the source selects by the one and takes the node from the other
        "properties": {"job": False, "node": False},
        "patternProperties": {"^[a-zA-Z_][a-zA-Z0-9_]*$": {"type": "string", "minLength": 1}},
    },
    "probe.kmsg.push.bufferMiB": {"type": "number", "exclusiveMinimum": 0, "maximum": 1024},
}
# The same wherever a value of this name is.
_SHAPES_BY_NAME: dict[str, Schema] = {
    "passwordSecret": {"$ref": "#/$defs/SecretKey"},
    "tokenSecret": {"$ref": "#/$defs/SecretKey"},
    "headersSecret": {"$ref": "#/$defs/SecretKey"},
    "ca": {"$ref": "#/$defs/CaBundle"},
    "tag": {"type": "string", "pattern": "^([A-Za-z0-9_][-._A-Za-z0-9]{0,127})?$"},
    "tenant": TENANT,
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "pullPolicy": {"enum": ["", "Always", "IfNotPresent", "Never"]},
    "resources": {"$ref": "#/$defs/Resources"},
    "extraEnv": _ENV,
    "podAnnotations": {
        **_ANNOTATIONS,
        "properties": {
            "checksum/settings": False,
            "kubectl.kubernetes.io/default-container": False,
        },
    },
    "podLabels": _LABELS,
    "nodeSelector": _ANNOTATIONS,
    "tolerations": _TOLERATIONS,
}
_NEEDED = frozenset({"passwordSecret", "tokenSecret", "headersSecret", "ca"})
_REPOSITORY: Schema = {"type": "string", "pattern": "^[a-z0-9]+([-._/:][-._a-z0-9]*[a-z0-9]+)*$"}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _object(description: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": properties,
    }


_DEFINITIONS: dict[str, Schema] = {
    "SecretKey": _object(
        "A key of a Secret in the release's namespace.",
        name={**_NAME, "description": "Name of the Secret; empty: none."},
        key=_text("Key in it.", pattern=_KEY),
    ),
    "CaBundle": _object(
        "A PEM file in a ConfigMap or a Secret of the release's namespace.",
        configMap={**_NAME, "description": "Name of the ConfigMap."},
        secret={**_NAME, "description": "Name of the Secret."},
        key=_text("Key in it.", pattern=_KEY),
    ),
    "Resources": _object(
        "ResourceRequirements of Kubernetes.",
        requests={**_QUANTITIES, "description": "What the scheduler sets aside."},
        limits={**_QUANTITIES, "description": "What the container cannot exceed."},
    ),
    "Toleration": _object(
        "Toleration of Kubernetes.",
        key=_text("Key of the taint; none with operator Exists: every taint."),
        operator={"enum": ["Exists", "Equal"], "description": "Exists or Equal."},
        value=_text("Value of the taint, with Equal."),
        effect={
            "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
            "description": "Effect of the taint; none: every effect.",
        },
        tolerationSeconds={"type": "integer", "description": "How long, with NoExecute."},
    ),
    "Affinity": _object(
        "Affinity of Kubernetes.",
        nodeAffinity={**_OPEN, "description": "NodeAffinity of Kubernetes."},
        podAffinity={**_OPEN, "description": "PodAffinity of Kubernetes."},
        podAntiAffinity={**_OPEN, "description": "PodAntiAffinity of Kubernetes."},
    ),
    "NetworkPolicyPeer": _object(
        "NetworkPolicyPeer of Kubernetes.",
        namespaceSelector={**_OPEN, "description": "LabelSelector for namespaces."},
        podSelector={**_OPEN, "description": "LabelSelector for pods."},
        ipBlock={**_OPEN, "description": "IPBlock of Kubernetes."},
    ),
    "EnvVar": {
        **_object(
            "EnvVar of Kubernetes.",
            name=_text("Name of the variable.", minLength=1),
            value=_text("Its value."),
            valueFrom={**_OPEN, "description": "EnvVarSource of Kubernetes."},
        ),
        "required": ["name"],
    },
}
_GROUPS = {
    "lokiAccess": "Credentials for Loki's query side, by reference.",
    "controller": "The Deployment.",
    "controller.image": "Image of the controller.",
    "controller.podDisruptionBudget": "PodDisruptionBudget of the controller.",
    "serviceAccount": "ServiceAccount of the controller.",
    "rbac": "Rights.",
    "rbac.operatorRole": "Rights for persons.",
    "metrics": "How the controller is scraped.",
    "metrics.service": "Service of the controller's port.",
    "metrics.serviceMonitor": "ServiceMonitor of the Prometheus operator.",
    "priorityClasses": "Priority of our pods.",
    "priorityClasses.controller": "PriorityClass of the controller.",
    "priorityClasses.probe": "PriorityClass of the probe.",
    "priorityClasses.jobs": "PriorityClass of Jobs that test nodes.",
    "networkPolicy": "Who reaches our pods, and what they reach.",
    "lokiNetworkPolicy": "Who reaches Loki.",
    "probe": "The DaemonSet.",
    "probe.image": "Image of the probe.",
    "probe.kmsg": "Container kmsg: forwards the kernel log.",
    "probe.kmsg.push": "Its own push to Loki.",
    "probe.agent": "Container agent: measures the node, and answers the controller.",
}


def render(values: Iterable[Value]) -> str:
    """values.schema.json. Raises KeyError for a group without a description, ValueError for a
    value whose shape nobody has said."""
    settings, definitions = settings_schema()
    root: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of konduktor-health",
        "description": "Written by deploy/generate.py from values.yaml and the settings.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "global": {"type": "object", "description": "Of a parent chart; nothing is read."}
        },
    }
    for value in values:
        parent = root
        *groups, name = value.path.split(".")
        for depth, group in enumerate(groups, 1):
            description = _GROUPS[".".join(groups[:depth])]
            _require(parent, group)
            parent = parent["properties"].setdefault(group, _object(description))
        shape = settings if value.path == "settings" else _shape(value)
        if not isinstance(value.default, list | dict) or name in _NEEDED:
            _require(parent, name)
        default = {} if value.path == "settings" else {"default": value.default}
        parent["properties"][name] = {**shape, "description": value.meaning, **default}
    root["$defs"] = {**_DEFINITIONS, **definitions}
    return json.dumps(root, indent=2) + "\n"


def _require(parent: Schema, name: str) -> None:
    """Given as null, a value is gone when the templates look for it. Lists and mappings may be
    (that is how a default is cleared); anything else is refused with its name."""
    required = parent.setdefault("required", [])
    if name not in required:
        required.append(name)


def shape_name(value: Value) -> str:
    """The kind of a value in a word, for people."""
    shape = _shape(value) if value.path != "settings" else _OPEN
    if "enum" in shape:
        return ", ".join(each or "(empty)" for each in shape["enum"])
    if "$ref" in shape:
        return str(shape["$ref"]).rsplit("/", 1)[1]
    if "anyOf" in shape:
        return " or ".join(each["type"] for each in shape["anyOf"])
    items = shape.get("items", {})
    if "$ref" in items:
        return f"list of {str(items['$ref']).rsplit('/', 1)[1]}"
    return {"array": "list", "object": "mapping"}.get(shape["type"], str(shape["type"]))


def _shape(value: Value) -> Schema:
    name = value.path.rsplit(".", 1)[-1]
    if value.path.endswith("image.repository"):
        return _REPOSITORY
    given = _SHAPES.get(value.path) or _SHAPES_BY_NAME.get(name)
    if given is not None:
        return given
    if isinstance(value.default, bool):
        return {"type": "boolean"}
    if isinstance(value.default, str):
        return _TEXT
    raise ValueError(f"values.yaml: deploy/chart/values_schema.py says no shape for {value.path}")
