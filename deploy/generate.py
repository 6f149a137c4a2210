"""Which files of the deployment are generated? The chart's schema and reference, the manifests.

    python deploy/generate.py           write what is not current
    python deploy/generate.py --check   write nothing; name what is stale, exit code 1

values.yaml and the settings say everything; the manifests are what helm renders. Helm is that of
``make servers``, or ``--helm PATH``. Version and appVersion of Chart.yaml follow the package's.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # run as a file: the checkout is not on the path then

from deploy.chart import reference, values_schema  # noqa: E402 - the path comes first
from deploy.chart.annotated import values  # noqa: E402 - the path comes first
from konduktor_health import __version__  # noqa: E402 - the path comes first
from tests.servers import build  # noqa: E402 - the path comes first

NAME = "konduktor-health"
CHART = ROOT / "deploy/helm" / NAME
MANIFESTS = ROOT / "deploy/manifests"
RENDER_S = 60.0
_NAMESPACE = f"""\
# Written by deploy/generate.py from deploy/helm/{NAME} with its default values.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAME}
  labels:
    app.kubernetes.io/name: {NAME}
    # the kmsg container is privileged
    pod-security.kubernetes.io/enforce: privileged
"""
_KUSTOMIZATION = f"""\
# Written by deploy/generate.py. kubectl apply -k deploy/manifests
# Own registry, tags or digests: kustomize edit set image {NAME}=registry.example.com/{NAME}:TAG
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - {NAME}.yaml
images:
  - name: {NAME}
    newTag: {__version__}
  - name: {NAME}-probe
    newTag: {__version__}
"""
_MARK = "<!-- Written by deploy/generate.py: change values.yaml or deploy/chart, then run it. -->\n"
# Nothing of helm's is in what kubectl applies.
_HELM_LINE = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n", re.MULTILINE)


class GenerateError(Exception):
    """A file cannot be generated; the message says why and what to do."""


def chart_yaml() -> str:
    """Chart.yaml with the package's version."""
    text = (CHART / "Chart.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^version: .*$", f"version: {__version__}", text, flags=re.MULTILINE)
    return re.sub(r"^appVersion: .*$", f'appVersion: "{__version__}"', text, flags=re.MULTILINE)


def manifests(helm: str) -> str:
    """What `helm template` makes of the chart's defaults, after its namespace."""
    with tempfile.TemporaryDirectory(prefix="konduktor-health-helm-") as home:
        done = subprocess.run(  # noqa: S603 - our own helm, our own chart
            [helm, "template", NAME, str(CHART), "--namespace", NAME],
            env={"PATH": os.environ.get("PATH", ""), "HOME": home},
            capture_output=True,
            text=True,
            timeout=RENDER_S,
            check=False,
        )
    if done.returncode != 0:
        raise GenerateError(f"helm template: {done.stderr.strip()[-2000:]}")
    parts = re.split(r"^---\n", done.stdout, flags=re.MULTILINE)
    rendered = [_HELM_LINE.sub("", part).strip() + "\n" for part in parts if part.strip()]
    return "---\n".join([_NAMESPACE, *rendered])


def from_values() -> dict[Path, str]:
    """What values.yaml and the settings say; helm reads two of these."""
    found = values((CHART / "values.yaml").read_text(encoding="utf-8"))
    return {
        CHART / "Chart.yaml": chart_yaml(),
        CHART / "values.schema.json": values_schema.render(found),
        ROOT / "docs/reference/chart.md": _MARK + reference.render(found),
    }


def from_chart(helm: str) -> dict[Path, str]:
    """What helm makes of the chart as it lies there."""
    return {
        MANIFESTS / f"{NAME}.yaml": manifests(helm),
        MANIFESTS / "kustomization.yaml": _KUSTOMIZATION,
    }


def stale(texts: Mapping[Path, str]) -> list[Path]:
    """The files that are not what they should be."""
    return [
        path
        for path, text in texts.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write the files, or with --check say which are stale. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated files of the deployment.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1: a file is stale")
    parser.add_argument("--helm", default="", help="path of helm (default: that of make servers)")
    arguments = parser.parse_args()
    helm = arguments.helm or _built_helm()
    if not helm:
        print("error: helm is not built: make servers, or --helm PATH", file=sys.stderr)
        return 2
    wrong = False
    try:
        for texts in (from_values, lambda: from_chart(helm)):  # the second reads the first's files
            wrong |= _bring_up(texts(), check=arguments.check)
    except (GenerateError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if arguments.check and wrong else 0


def _bring_up(texts: Mapping[Path, str], *, check: bool) -> bool:
    """Write what is stale, or with ``check`` only name it. True when something was."""
    wrong = stale(texts)
    for path in wrong:
        print(f"{path.relative_to(ROOT)}: {'stale' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
    return bool(wrong)


def _built_helm() -> str:
    found = next((build.find(each) for each in build.SERVERS if each.name == "helm"), None)
    return str(found or "")


if __name__ == "__main__":
    sys.exit(main())
