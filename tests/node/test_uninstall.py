"""What is left of us after helm uninstall and konduktor-health uninstall: nothing."""

from __future__ import annotations

import json

from tests.support.chart import NAME
from tests.support.node.release import NAMESPACE, Release


def test_uninstall_is_refused_while_it_runs_and_then_leaves_no_orphan(release: Release) -> None:
    commands, node = release.node.commands, release.node
    pci, _ = release.echo_xid()
    release.until_tainted_for(pci)
    assert _ours(release)  # the search below can find something

    refused = commands.konduktor("uninstall", "--yes", check=False)
    assert refused.returncode == 5, refused.stderr
    assert release.leader() in refused.stderr + refused.stdout
    assert release.tainted()
    # From here on the pods end after their rights: what they ask then may be refused.
    assert release.refused() == []

    commands.helm("uninstall", NAME, "-n", NAMESPACE, "--wait", "--timeout", "60s")
    assert release.tainted()  # nobody has proven the node well

    listed = commands.konduktor("uninstall", "--dry-run").stdout
    assert node.name in listed
    assert f"{NAME}-state" in listed
    assert release.tainted()
    assert release.record(pci)

    commands.konduktor("uninstall", "--yes")
    assert _ours(release) == []
    assert "konduktor" not in _as_text(node.kube.node(node.name))


def _ours(release: Release) -> list[str]:
    """Every object of any kind, but Events, with our labels or our name; not the namespace."""
    commands = release.node.commands
    kinds = commands.kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split()
    wanted = ",".join(kind for kind in kinds if not kind.startswith("events"))
    found = json.loads(commands.kubectl("get", wanted, "-A", "-o", "json").stdout)["items"]
    return sorted(
        f"{one['kind']}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for one in found
        if one["kind"] != "Namespace" and _is_ours(one)
    )


def _is_ours(found: dict[str, object]) -> bool:
    metadata = found["metadata"]
    assert isinstance(metadata, dict)
    labels = metadata.get("labels", {})
    named = "konduktor" in metadata["name"]
    return named or any("konduktor" in f"{key}={value}" for key, value in labels.items())


def _as_text(node: dict[str, object]) -> str:
    """The Node as text, without the names of images that kubelet has."""
    status = node["status"]
    assert isinstance(status, dict)
    return json.dumps({**node, "status": {**status, "images": []}})
