"""How are all Nodes read? Page by page, one object at a time in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.nodes import walk_list
from konduktor_health.errors import ClusterUnavailable, excerpt

NODES = "/api/v1/nodes"
PAGE = 500


def each_node(
    http: KubeHttp, take: Callable[[Any], None], *, selector: str = "", page: int = PAGE
) -> str:
    """Hand each raw Node to ``take``; return the list's resourceVersion.

    One consistent list: all pages are of the first page's version. Raises Gone when the server
    drops that version half-way, ClusterUnavailable for an answer that is no list, and what
    KubeHttp.request raises.
    """
    params = {"limit": str(page)} | ({"labelSelector": selector} if selector else {})
    while True:
        payload = http.request("GET", NODES, params=params)
        try:
            rest = walk_list(payload, take)
        except (ValueError, RecursionError) as error:
            raise ClusterUnavailable(
                f"list nodes: the answer is not a NodeList: {excerpt(payload[:512])}"
            ) from error
        meta = rest.get("metadata")
        meta = meta if isinstance(meta, dict) else {}
        if not meta.get("continue"):
            return str(meta.get("resourceVersion") or "")
        params["continue"] = str(meta["continue"])
