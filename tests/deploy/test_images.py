"""What is in the images that were built (build/images)?

Reads the OCI archives themselves: what a node is given, not what an engine says about it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import konduktor_health
from deploy.docker import archive

pytestmark = pytest.mark.node

FOLDER = Path(__file__).parents[2] / "build" / "images"
HOME = "opt/konduktor-health"
CONTROLLER, PROBE = "konduktor-health", "konduktor-health-probe"
LABELS = ("title", "description", "version", "revision", "licenses", "base.name", "base.digest")
# What the project adds to whatever base it is given, and both images on the plain base
# (docs/reference/images.md states what was measured).
ADDED_MB = {CONTROLLER: 160, PROBE: 60}
ARCHIVE_MB = {CONTROLLER: 62, PROBE: 50}
# A compiler or an installer is what an intruder looks for first.
TOOLS = re.compile(
    r"(?:gcc|g\+\+|cc|c\+\+|clang|tcc|ld|as|make|pip[0-9.]*|easy_install|uv|apt|apt-get|dpkg|curl|wget)"
)
INSTALLERS = re.compile(r"(?:pip|ensurepip|setuptools|wheel|uv)(?:-[^/]*)?")


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, Any]]:
    content = json.loads((FOLDER / "images.json").read_text(encoding="utf-8"))
    return {each["file"].removesuffix(".tar"): each for each in content["images"]}


@pytest.fixture(scope="module")
def images(listed: dict[str, dict[str, Any]]) -> dict[str, archive.Image]:
    return {name: archive.read(FOLDER / each["file"]) for name, each in listed.items()}


@pytest.fixture(params=[CONTROLLER, PROBE])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(name: str, images: dict[str, archive.Image]) -> archive.Image:
    return images[name]


def packages(image: archive.Image) -> set[str]:
    """What lies in the environment's site-packages, at the top."""
    found = re.compile(rf"{HOME}/lib/python3\.[0-9]+/site-packages/([^/]+)")
    return {match.group(1) for path in image.entries if (match := found.fullmatch(path))}


def executables(paths: Iterable[str]) -> set[str]:
    folders = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", f"{HOME}/bin")
    return {path.rpartition("/")[2] for path in paths if path.rpartition("/")[0] in folders}


def judged(image: archive.Image) -> dict[str, archive.Entry]:
    """All of it on the plain base; on a named base, what we add: the rest is that base's."""
    plain = "plain-base" in image.labels["org.opencontainers.image.base.name"]
    return {
        path: each for path, each in image.entries.items() if plain or path.startswith(f"{HOME}/")
    }


def test_the_list_says_what_the_archives_are(
    name: str, image: archive.Image, listed: dict[str, dict[str, Any]]
) -> None:
    said = listed[name]
    assert image.name == said["name"]
    assert image.name.rpartition("/")[2].partition(":")[0] == name
    assert image.digest == said["digest"]
    assert image.archive_bytes == said["archive_bytes"]
    assert image.unpacked_bytes == said["unpacked_bytes"]


def test_labels_say_what_it_is_and_on_which_base(
    name: str, image: archive.Image, listed: dict[str, dict[str, Any]]
) -> None:
    labels = {key: image.labels[f"org.opencontainers.image.{key}"] for key in LABELS}
    assert labels["title"] == name
    assert labels["version"] == konduktor_health.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == listed[name]["base"]
    assert labels["base.digest"] == listed[name]["base_digest"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels["base.digest"])
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])
    assert labels["description"]


def test_the_controller_runs_as_no_one(images: dict[str, archive.Image]) -> None:
    config = images[CONTROLLER].config["config"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["konduktor-health"], ["run"])
    assert "HOME=/nonexistent" in config["Env"]


def test_the_probe_forwards_the_kernel_log_as_root(images: dict[str, archive.Image]) -> None:
    config = images[PROBE].config["config"]
    assert config["User"] in ("0:0", "0", "root")
    assert (config["Entrypoint"], config["Cmd"]) == (["konduktor-probe"], ["kmsg"])
    assert {"sh", "echo"} <= executables(
        images[PROBE].entries
    )  # for the documented kernel-log test


def test_no_compiler_and_no_installer(image: archive.Image) -> None:
    assert not {each for each in executables(judged(image)) if TOOLS.fullmatch(each)}
    folders = {path.rpartition("/")[2] for path in image.entries if "/python3" in path}
    assert not {each for each in folders if INSTALLERS.fullmatch(each)}
    assert not [path for path in image.entries if path.endswith(".whl")]


def test_nothing_of_the_build_or_its_machine_remains(image: archive.Image) -> None:
    assert not [path for path in image.entries if path.split("/")[0] in ("build", "wheels")]
    left = {"etc/hostname", "etc/resolv.conf", "etc/hosts"}
    assert not [path for path in left if path in image.entries and image.entries[path].size]
    assert not [path for path, each in judged(image).items() if each.kind == "other"]  # devices


def test_no_file_raises_privileges_or_can_be_changed(image: archive.Image) -> None:
    ours = {path: each for path, each in image.entries.items() if path.startswith(f"{HOME}/")}
    assert ours
    assert not [path for path, each in ours.items() if each.uid != 0]
    files = {path: each for path, each in judged(image).items() if each.kind == "file"}
    assert not [path for path, each in files.items() if each.mode & 0o6000]
    assert not [path for path, each in files.items() if each.mode & 0o002]


def test_the_probe_has_nothing_of_the_controller(images: dict[str, archive.Image]) -> None:
    version = konduktor_health.__version__
    found = packages(images[PROBE])
    assert {"probes", "parsers", f"konduktor_health_probe-{version}.dist-info"} <= found
    assert {"fastapi", "pydantic", "cryptography", "uvicorn"} <= found
    assert not found & {"konduktor_health", "kubernetes", "typer", "re2", "loguru", "requests"}
    assert {"ping", "iperf3"} <= executables(images[PROBE].entries)


def test_the_probe_has_the_cuda_programs(images: dict[str, archive.Image]) -> None:
    for name in ("bandwidth", "gpucheck", "memtest"):
        program = images[PROBE].entries[f"opt/konduktor/bin/{name}"]
        assert program.mode & 0o111
        assert 100_000 < program.size < 10_000_000
    assert f"{HOME}/bin/konduktor-probe" in images[PROBE].entries
    assert f"{HOME}/bin/konduktor-health" not in images[PROBE].entries


def test_the_controller_has_what_it_imports_and_the_catalogs(
    images: dict[str, archive.Image],
) -> None:
    image = images[CONTROLLER]
    assert {"konduktor_health", "parsers", "kubernetes", "pydantic", "typer"} <= packages(image)
    catalogs = [path for path in image.entries if re.search(r"/parsers/catalog/s?xid\.json$", path)]
    assert len(catalogs) == 2
    assert not packages(image) & {"pytest", "mypy", "tests", "benchmarks", "docs", "deploy"}


def test_what_is_imported_is_compiled_once_and_for_good(image: archive.Image) -> None:
    """A read-only root file system: what is not compiled would be compiled at every start."""
    sources = [path for path in image.entries if path.startswith(HOME) and path.endswith(".py")]
    minor = re.search(r"python3\.([0-9]+)/", sources[0])
    assert minor
    compiled = re.compile(r"([^/]+)\.py$")
    missing = [
        path
        for path in sources
        if compiled.sub(rf"__pycache__/\1.cpython-3{minor.group(1)}.pyc", path) not in image.entries
    ]
    assert not missing


def test_sizes_stay_in_bounds(name: str, image: archive.Image) -> None:
    ours = [each.size for path, each in image.entries.items() if path.startswith(HOME)]
    assert sum(ours) / 1e6 < ADDED_MB[name]
    if len(judged(image)) == len(image.entries):
        assert image.archive_bytes / 1e6 < ARCHIVE_MB[name]
