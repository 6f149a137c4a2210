"""How does a test run a real OpenTelemetry collector with the configuration that users get?

The configuration is ``deploy/shippers/konduktor-otel/collector.yaml`` as it is, with the argument
that it names. A test sets its environment, and switches off the collector's own metrics: their
port is fixed. Offsets and queue stay the same over stop(), kill() and start().
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import Server, ServerProcess, binary

CONFIGURATION = Path(__file__).parents[2] / "deploy/shippers/konduktor-otel/collector.yaml"
_ARGUMENTS = ("--feature-gates=stanza.synchronousLogEmitter",)
_NO_METRICS = ("--set", "service.telemetry.metrics.level=none")
_READY = b"Everything is ready"


class OtelCollector(Server):
    """One node's collector.

    ``kubeconfig``: who it is at the API server (pods get, list, watch). ``pod_logs``: the folder
    that stands for /var/log/pods. ``namespace``: that of the release. ``prefix``: a command to
    run it by, for example ``("nsenter", "--net=/run/netns/x")``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        loki_url: str,
        kubeconfig: Path,
        pod_logs: Path,
        node: str,
        namespace: str = "konduktor-health",
        prefix: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.storage = directory / "storage"
        self._prefix = tuple(prefix)
        self._environ = {
            "LOKI_URL": loki_url,
            "K8S_NODE_NAME": node,
            "KONDUKTOR_NAMESPACE": namespace,
            "POD_LOGS": str(pod_logs),
            "COLLECTOR_STORAGE": str(self.storage),
            "K8S_AUTH_TYPE": "kubeConfig",
            "KUBECONFIG": str(kubeconfig),
        }
        self.process = ServerProcess("otelcol", directory, ready=self._ready)
        self._log_before = 0  # what earlier starts have logged

    def _ready(self) -> bool:
        with self.process.log.open("rb") as log:
            log.seek(self._log_before)
            return _READY in log.read()

    def start(self) -> None:
        """Start and wait until the pods are known and the pipeline runs.

        Raises ServerError with the log's tail otherwise.
        """
        log = self.process.log
        self._log_before = log.stat().st_size if log.exists() else 0
        super().start()

    def argv(self) -> list[str]:
        environ = [f"{name}={value}" for name, value in self._environ.items()]
        command = [binary("otelcol"), "--config", str(CONFIGURATION), *_ARGUMENTS, *_NO_METRICS]
        return [*self._prefix, "env", *environ, *command]
