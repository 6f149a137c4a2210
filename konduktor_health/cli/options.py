"""Which options do commands share, and how do they become Settings?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from konduktor_health import settings

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (YAML).", show_default=False),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="kubeconfig file.", show_default=False),
]
Context = Annotated[
    str | None, typer.Option("--context", help="kubeconfig context.", show_default=False)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace that it is installed in (cluster.namespace).",
        show_default=False,
    ),
]
LogEndpoint = Annotated[
    str | None,
    typer.Option("--log-endpoint", help="Base URL of Loki.", show_default=False),
]
Debug = Annotated[bool, typer.Option("--debug", help="Log at level DEBUG.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")]


def load(
    config: Path | None = None,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    namespace: str | None = None,
    log_endpoint: str | None = None,
    debug: bool = False,
    more: dict[str, Any] | None = None,
) -> settings.Settings:
    """Settings of all layers with these flags on top. Raises ConfigError."""
    flags: dict[str, Any] = {
        "cluster": {"kubeconfig": kubeconfig, "context": context, "namespace": namespace},
        "loki": {"url": log_endpoint},
        "debug": debug or None,
        **(more or {}),
    }
    return settings.load(config, flags)
