"""The embedded Kubernetes API of the sandbox: what ``kubectl`` and the controller talk to in the
demo and in component tests. Standard library only; ``tests/contract/kube`` keeps it honest."""

from konduktor_health.sandbox.kubeapi.faults import Faults, Request, RequestLog
from konduktor_health.sandbox.kubeapi.kubeapi import KubeApi
from konduktor_health.sandbox.kubeapi.status import ApiError
from konduktor_health.sandbox.kubeapi.store import Store

__all__ = ["ApiError", "Faults", "KubeApi", "Request", "RequestLog", "Store"]
