"""A site's rules through the chart, in the image that users run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.controller import eventually
from tests.support.node.release import Release, a_device

RULES = r"""
version: 1
kernel:
  - fault_id: kernel/acme-fan-stopped
    patterns: ['acme_chassis (?P<device>%{pci}): fan (?P<fan>[0-9]+) stopped']
    severity: fatal
    remedy: inspect
    meaning: A fan of the chassis stopped
    examples:
      - text: 'acme_chassis 0000:3b:00.0: fan 2 stopped'
        device: '0000:3b:00'
        detail: {fan: '2', function: '0'}
"""


@pytest.fixture
def with_rules(release: Release) -> Iterator[Release]:
    """The release with the site's rules, and afterwards as it was."""
    release.upgrade({"rules": {"content": RULES}})
    try:
        yield release
    finally:
        release.upgrade()


def test_line_that_only_the_sites_rules_know_taints_the_node(with_rules: Release) -> None:
    with_rules.until_led()
    pci = a_device()
    line = f"acme_chassis {pci}.0: fan 2 stopped"
    Path("/dev/kmsg").write_text(f"<4>{line}\n", encoding="ascii")
    record = with_rules.until_tainted_for(pci)
    assert (record["fault"], record["text"]) == ("kernel/acme-fan-stopped", line)
    eventually(
        lambda: "konduktor_health_rules_broken 0.0" in with_rules.metrics(with_rules.until_led()),
        "the leader's rules are whole",
    )
