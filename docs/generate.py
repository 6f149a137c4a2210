"""What do the generated reference pages say? What the code says, in tables.

``python docs/generate.py`` writes the pages, ``--check`` names those that are not current and
exits 1. Nothing here is configured: settings, metrics, options, errors and fault tables are
read from the modules that define them. A new thing without an explanation raises KeyError.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.pages.agent import agent_api_page, agent_openapi
from docs.pages.agent_metrics import agent_metrics_page
from docs.pages.backends import backends_page
from docs.pages.checks import checks_page
from docs.pages.checks_data import checks_data
from docs.pages.commands import cli_page
from docs.pages.exits import exit_codes_page
from docs.pages.faults import faults_page
from docs.pages.metrics import metrics_page
from docs.pages.policy import policy_page
from docs.pages.settings import settings_page
from docs.pages.states import states_page
from docs.pages.thresholds import thresholds_page

REFERENCE = Path(__file__).parent / "reference"
MARK = "<!-- Written by docs/generate.py: change the code, then run it. -->\n"

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "faults.md": faults_page,
    "policy.md": policy_page,
    "cli.md": cli_page,
    "exit-codes.md": exit_codes_page,
    "states.md": states_page,
    "checks.md": checks_page,
    "thresholds.md": thresholds_page,
    "gpu-backends.md": backends_page,
    "agent-api.md": agent_api_page,
    "agent-openapi.json": agent_openapi,
    "probe-metrics.md": agent_metrics_page,
    "../../konduktor_health/checks.json": checks_data,  # no page: the controller reads it
}


def stale() -> list[str]:
    """Names of the pages that are not what the code says."""
    names = []
    for name, render in PAGES.items():
        page = REFERENCE / name
        if not page.is_file() or page.read_text(encoding="utf-8") != content(name, render):
            names.append(name)
    return names


def content(name: str, render: Callable[[], str]) -> str:
    """What is in the file."""
    return render() if name.endswith(".json") else MARK + render()


def main() -> int:
    """Write the pages, or with --check say which are stale. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1: a page is stale")
    check = parser.parse_args().check
    names = stale()
    for name in names:
        if not check:
            (REFERENCE / name).write_text(content(name, PAGES[name]), encoding="utf-8")
        print(f"docs/reference/{name}: {'stale' if check else 'written'}")
    return 1 if check and names else 0


if __name__ == "__main__":
    sys.exit(main())
