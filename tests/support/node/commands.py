"""What does the administrator of the cluster run? Stock kubectl and helm, and our commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.controller import eventually
from tests.support.processes import binary

Done = subprocess.CompletedProcess[str]


class Commands:
    """kubectl, helm and konduktor-health with one kubeconfig."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.kubeconfig = kubeconfig
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "COLUMNS": "160",
        }

    def kubectl(
        self, *words: str, stdin: str = "", check: bool = True, timeout_s: float = 60
    ) -> Done:
        """kubectl; AssertionError with its output when it fails and ``check`` is on."""
        own = Path(sys.executable).parent / "kubectl"
        return self._run([str(own), *words], stdin, check, timeout_s)

    def helm(
        self, *words: str, stdin: str = "", check: bool = True, timeout_s: float = 120
    ) -> Done:
        """The real helm."""
        return self._run([binary("helm"), *words], "", check, timeout_s)

    def konduktor(self, *words: str, check: bool = True, timeout_s: float = 60) -> Done:
        """``konduktor-health`` from outside the cluster, with the administrator's kubeconfig."""
        command = [sys.executable, "-m", "konduktor_health", *words]
        return self._run(command, "", check, timeout_s)

    def start_kubectl(self, *words: str) -> subprocess.Popen[str]:
        """kubectl in the background; the caller ends it."""
        own = Path(sys.executable).parent / "kubectl"
        return subprocess.Popen(
            [str(own), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environ,
        )

    def apply(self, document: dict[str, Any]) -> None:
        """kubectl apply of one object."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def get(self, *words: str) -> Any:
        """kubectl get ... -o json."""
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def in_pod(
        self,
        namespace: str,
        pod: str,
        *command: str,
        container: str = "",
        check: bool = True,
    ) -> Done:
        """kubectl exec; ``pod`` may be ``deploy/NAME``."""
        words = ["exec", "-n", namespace, pod]
        if container:
            words += ["-c", container]
        return self.kubectl(*words, "--", *command, check=check)

    def logs(self, namespace: str, pod: str, *options: str) -> str:
        """kubectl logs."""
        return self.kubectl("logs", "-n", namespace, pod, *options).stdout

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Pods, without those that are being deleted."""
        found = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def ready_pods(
        self, namespace: str, selector: str, count: int, timeout_s: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until exactly ``count`` pods are there and Ready; AssertionError says what is."""

        def all_ready() -> list[dict[str, Any]]:
            pods = self.pods(namespace, selector)
            good = [pod for pod in pods if is_ready(pod)]
            return good if len(good) == len(pods) == count else []

        def state() -> str:
            described = self.kubectl("describe", "pods", "-n", namespace, "-l", selector).stdout
            return f"{count} ready pods {selector}\n{described[-6000:]}"

        return eventually(all_ready, state, timeout_s, 0.3)

    def _run(self, command: list[str], stdin: str, check: bool, timeout_s: float) -> Done:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self._environ,
        )
        if check:
            assert done.returncode == 0, (
                f"{' '.join(command)[:500]}: {done.returncode}\n"
                f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a Pod's Ready condition is True."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
