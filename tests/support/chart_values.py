"""Which values differ from all defaults of the chart? One of each, that fit together.

What is switched on by default stays on: it would hide the others.
"""

from __future__ import annotations

from typing import Any

_IMAGE = {"tag": "1.2.3", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"}
_RESOURCES = {"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
_PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
_TOLERATION = {"key": "dedicated", "operator": "Equal", "value": "x", "effect": "NoSchedule"}
_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
        }
    }
}
_CA = {"configMap": "", "secret": "loki-ca", "key": "bundle.pem"}
_ENVIRONMENT = [{"name": "TZ", "value": "UTC"}]

EVERYTHING: dict[str, Any] = {
    "nameOverride": "gpu-health",
    "fullnameOverride": "gpu-nodes",
    "labels": {"team": "infra"},
    "imageRegistry": "registry.example.com/mirror",
    "imagePullSecrets": [{"name": "registry"}],
    "settings": {
        "loki": {"url": "https://loki.example.com", "username": "reader", "tenant": "east"},
        "sources": [{"preset": "kmsg"}],
        "reading": {"cluster": "east"},
        "policy": {"budget_percent": 5},
        "http": {"port": 9000},
        "probes": {"jobs": {"enabled": True}, "pvc": {"storage_class": "fast"}},
    },
    "lokiAccess": {
        "passwordSecret": {"name": "loki", "key": "pw"},
        "tokenSecret": {"name": "loki", "key": "tk"},
        "headersSecret": {"name": "loki", "key": "hd"},
        "ca": {"configMap": "loki-ca", "secret": "", "key": "bundle.pem"},
    },
    "rules": {"content": "version: 1\n", "existingConfigMap": ""},
    "policy": {"content": "version: 1\npreset: strict\n", "existingConfigMap": ""},
    "gpuNodeLabels": ["example.com/gpu"],
    "controller": {
        "replicas": 3,
        "image": {"repository": "health/controller", **_IMAGE},
        "resources": _RESOURCES,
        "readinessPath": "/healthz",
        "minReadySeconds": 0,
        "terminationGracePeriodSeconds": 20,
        "extraEnv": _ENVIRONMENT,
        "podAnnotations": {"example.com/note": "true"},
        "podLabels": {"tier": "control"},
        "nodeSelector": {"pool": "system"},
        "tolerations": [_TOLERATION],
        "affinity": _AFFINITY,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"tier": "control"}},
            }
        ],
    },
    "serviceAccount": {"name": "gpu", "annotations": {"example.com/role": "r"}},
    "rbac": {"operatorRole": {"create": True}},
    "metrics": {
        "service": {"port": 80, "annotations": {"example.com/lb": "none"}},
        "scrapeAnnotations": True,
        "serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prom"}},
    },
    "priorityClasses": {
        "controller": {"name": "high", "value": 5},
        "probe": {"name": "higher", "value": 6},
        "jobs": {"name": "lowest", "value": -7},
        "preemptionPolicy": "PreemptLowerPriority",
    },
    "networkPolicy": {
        "metricsFrom": [_PEER],
        "restrictEgress": True,
        "kubernetesPorts": [16443],
        "extraEgress": [{"ports": [{"port": 3128}]}],
    },
    "lokiNetworkPolicy": {
        "enabled": True,
        "namespace": "logs",
        "podLabels": {"app": "loki"},
        "port": 8080,
        "peers": [_PEER],
    },
    "probe": {
        "image": {"repository": "health/probe", **_IMAGE},
        "nodes": "all",
        "nodeSelector": {"pool": "gpu"},
        "affinity": _AFFINITY,
        "tolerations": [_TOLERATION],
        "maxUnavailable": 3,
        "terminationGracePeriodSeconds": 20,
        "podAnnotations": {"example.com/note": "true"},
        "podLabels": {"tier": "node"},
        "stateDirectory": "/var/lib/gpu-health",
        "kmsg": {
            "stdout": False,
            "heartbeatSeconds": 30,
            "push": {
                "url": "http://push.example.com:3100",
                "tenant": "west",
                "labels": {"site": "a"},
                "bufferMiB": 16,
                "tokenSecret": {"name": "push", "key": "tk"},
                "ca": _CA,
            },
            "extraEnv": _ENVIRONMENT,
            "resources": _RESOURCES,
        },
        "agent": {
            "port": 9999,
            "runtimeClassName": "nvidia",
            "lightSeconds": 30,
            "hourlySeconds": 600,
            "invasiveSeconds": 0,
            "keys": "our-keys",
            "userChecks": "our-checks",
            "autopilotMetrics": True,
            "extraArgs": ["--log-level=debug"],
            "extraEnv": _ENVIRONMENT,
            "resources": _RESOURCES,
        },
    },
}
