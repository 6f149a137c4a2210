"""Which checks does a command speak of, and what do they measure with?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from probes.check import Tier
from probes.runner.catalog import SHIPPED, Catalog
from probes.runner.job import resolve
from probes.userchecks.definition import UserCheckError, load

USER_CHECKS = "KONDUKTOR_USER_CHECKS"
#: What ``--backend`` stands for in the environment (``probes.backends.choose``).
_BACKENDS: Mapping[str, Mapping[str, str]] = {
    "auto": {},
    "nvml": {"KONDUKTOR_FAKE_GPU": "", "KONDUKTOR_GPU_BACKEND": "nvml"},
    "sysfs": {"KONDUKTOR_FAKE_GPU": "", "KONDUKTOR_GPU_BACKEND": "sysfs"},
    "fake": {"KONDUKTOR_FAKE_GPU": "true"},
}


def add_catalog_options(parser: argparse.ArgumentParser) -> None:
    """What says which checks there are."""
    parser.add_argument(
        "--tier", choices=[tier.value for tier in Tier], help="the checks of this tier"
    )
    parser.add_argument(
        "--user-checks",
        default=os.environ.get(USER_CHECKS, ""),
        metavar="PATH",
        help=f"checks of your own: a JSON file, or a folder of them (environment {USER_CHECKS})",
    )


def add_backend_option(parser: argparse.ArgumentParser) -> None:
    """What says which GPUs there are."""
    parser.add_argument(
        "--backend",
        choices=list(_BACKENDS),
        default="auto",
        help="where facts about GPUs come from; auto: as the environment says, else nvml",
    )


def catalog(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Catalog:
    """The shipped checks and those of ``--user-checks``. Wrong usage ends the program."""
    if not arguments.user_checks:
        return Catalog()
    taken = set(resolve(SHIPPED))
    try:
        return Catalog(user_checks=load(arguments.user_checks, taken))
    except UserCheckError as error:
        parser.error(f"--user-checks: {error}")


def tier(arguments: argparse.Namespace) -> Tier | None:
    """Of ``--tier``."""
    return Tier(arguments.tier) if arguments.tier else None


def backend_environ(arguments: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that makes the checks ask the backend of ``--backend``."""
    return {**environ, **_BACKENDS[arguments.backend]}
