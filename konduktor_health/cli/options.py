"""Which options do commands share, and how do they become Settings?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konduktor_health import settings
from parsers import tables

if TYPE_CHECKING:
    from konduktor_health.adapters.rules_file import Judged

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
Rules = Annotated[
    Path | None,
    typer.Option("--rules", help="Rules file over the shipped tables.", show_default=False),
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


def rules(file: Path | None) -> Judged | None:
    """What a rules file makes of the shipped tables; None without a file. Raises ConfigError."""
    if file is None:
        return None
    from konduktor_health.adapters.rules_file import read_rules  # loads RE2

    return read_rules(file)


def shown(file: Path | None) -> tables.Tables:
    """The tables to look at a log with. Raises ConfigError for a wrong rules file."""
    judged = rules(file)
    return tables.shipped() if judged is None else judged.shown
