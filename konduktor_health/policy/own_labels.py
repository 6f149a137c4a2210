"""Does a policy read Autopilot's labels while it has us write them?

Then what we decide would rest on what we decided before: a node that was once tainted for a reason
of its label would never be well again. Such a file is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from konduktor_health.policy.document import PolicyDocument

#: Beginning of all of Autopilot's keys.
THEIRS = "autopilot.ibm.com/"
Path = tuple[str | int, ...]


def readers(document: PolicyDocument) -> Iterator[Path]:
    """The places in which the file names a label of Autopilot's."""
    for path, text in _texts(document):
        if text is not None and THEIRS in text:
            yield path


def _texts(document: PolicyDocument) -> Iterator[tuple[Path, str | None]]:
    for number, rule in enumerate(document.rules):
        yield ("rules", number, "match", "nodes"), rule.match.nodes
        yield ("rules", number, "match", "when"), rule.match.when
    for number, pool in enumerate(document.pools or ()):
        yield ("pools", number, "nodes"), pool.nodes
        yield ("pools", number, "label"), pool.label
    for number, window in enumerate(document.pauses.windows or ()):
        yield ("pauses", "windows", number, "nodes"), window.nodes
    yield ("pauses", "driver_upgrade_label"), document.pauses.driver_upgrade_label
    for number, label in enumerate(document.domains or ()):
        yield ("domains", number), label
