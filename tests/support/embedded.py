"""The embedded API server and Loki with GPU nodes, and controller processes against them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.loki import LokiServer
from konduktor_health.sandbox.nodes import gpu_node
from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess


class Embedded:
    """Started when made; ``stack`` ends it."""

    def __init__(self, stack: ExitStack, folder: Path, *nodes: str) -> None:
        self.folder = folder
        self.api = KubeApi()
        self.api.start()
        stack.callback(self.api.stop)
        self.loki = stack.enter_context(LokiServer())
        self.api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        for name in nodes or ("gpu-a", "gpu-b", "gpu-c"):
            self.api.store.create("nodes", gpu_node(name))
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self.api.kubeconfig())

    def controller(self, *args: str, loki: str = "", **settings: Any) -> ControllerProcess:
        """Not started yet: enter it."""
        return ControllerProcess(
            self.folder,
            kubeconfig=self.kubeconfig,
            loki=loki or self.loki.url,
            args=args,
            settings=settings,
        )

    def tainted(self) -> list[str]:
        """Nodes with our taint."""
        return [
            node["metadata"]["name"]
            for node in self.api.store.list("nodes")
            if any(taint["key"] == OUR_KEY for taint in node["spec"].get("taints", []))
        ]
