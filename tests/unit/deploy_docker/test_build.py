"""What does the image build decide: when to build, from what, and what it says when it cannot?"""

from __future__ import annotations

import configparser
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.docker import archive, build, engine, plain, request, wheels
from deploy.docker.engine import BasePython, BuildError

ROOT = Path(__file__).parents[3]


def options(*arguments: str) -> request.Options:
    return request.parse(ROOT, ["--revision", "r1", *arguments])


# ---------------------------------------------------------------- the command line


def test_the_probe_gets_the_same_base_unless_it_has_its_own() -> None:
    assert options("--base", "python@sha256:ab").probe_base == "python@sha256:ab"
    given = options("--base", "a:1", "--probe-base", "b:2")
    assert (given.base, given.probe_base) == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--plain", "--base", "x"), "--plain makes the base"),
        (("--plain", "--probe-base", "x"), "--plain makes the base"),
        (("--plain", "--engine", "docker"), "buildah"),
        (("--engine", "podman"), "invalid choice"),
        (("--tag", "a b"), "'a b' is no image tag"),
        (("--base", "--privileged"), "expected one argument"),
        (("--base", "-v"), "expected one argument"),
        (("--base", "x y"), "'x y' is no image name"),
        (("--name-prefix", "host"), "has to be like"),
        (("--revision", "x\ny"), "is no revision"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_2(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


# ---------------------------------------------------------------- what changes an image


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the key looks at, small."""
    for name in (
        "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "konduktor_health/__init__.py",
        "parsers/catalog/xid.json", "probes/cli.py", "deploy/docker/build.py",
        "deploy/docker/probe.Dockerfile", "docs/README.md", "tests/test_x.py",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["setup.cfg", "README.md", "parsers/catalog/xid.json", "probes/cli.py",
     "deploy/docker/probe.Dockerfile", "deploy/docker/build.py", "probes/new.py"],
)  # fmt: skip
def test_a_changed_input_builds_again(checkout: Path, name: str) -> None:
    before = build.build_key(options(), checkout)
    (checkout / name).write_text("changed")
    assert build.build_key(options(), checkout) != before


@pytest.mark.parametrize(
    "name", ["docs/README.md", "tests/test_x.py", "probes/__pycache__/cli.cpython-311.pyc"]
)
def test_what_is_not_in_an_image_builds_nothing(checkout: Path, name: str) -> None:
    before = build.build_key(options(), checkout)
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("changed")
    assert build.build_key(options(), checkout) == before


def test_each_argument_that_shows_in_an_image_is_in_the_key(checkout: Path) -> None:
    asked = options()
    others = [
        replace(asked, base="python:3.12-slim"),
        replace(asked, probe_base="cuda:13"),
        replace(asked, tag="2"),
        replace(asked, name_prefix="r/"),
        replace(asked, revision="r2"),
        options("--plain"),
    ]
    assert len({build.build_key(each, checkout) for each in (asked, *others)}) == len(others) + 1
    moved = replace(asked, out=Path("/elsewhere"), force=True)
    assert build.build_key(moved, checkout) == build.build_key(asked, checkout)


def test_a_name_is_no_content(tmp_path: Path) -> None:
    """Moving bytes from one file to the next, or from a name to a content, is a change."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("23")
    before = wheels.content_key(tmp_path, [first, second])
    first.write_text("12")
    second.write_text("3")
    assert wheels.content_key(tmp_path, [first, second]) != before


def test_a_finished_build_is_taken_only_whole(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"12345")
    line = {
        "name": "localhost/a:1", "file": "a.tar", "archive_bytes": 5, "unpacked_bytes": 9,
        "digest": "sha256:00", "base": "b", "base_digest": "", "python": "3.11",
    }  # fmt: skip
    assert build.up_to_date(tmp_path, "k") == []
    (tmp_path / "images.json").write_text(json.dumps({"key": "k", "images": [line]}))
    assert [each.name for each in build.up_to_date(tmp_path, "k")] == ["localhost/a:1"]
    assert build.up_to_date(tmp_path, "other") == []
    (tmp_path / "a.tar").write_bytes(b"1234")
    assert build.up_to_date(tmp_path, "k") == []
    (tmp_path / "a.tar").unlink()
    assert build.up_to_date(tmp_path, "k") == []
    (tmp_path / "images.json").write_text('{"key": "k", "ima')
    assert build.up_to_date(tmp_path, "k") == []


# ---------------------------------------------------------------- revision


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()


def test_the_revision_is_that_of_the_last_change_to_an_input(checkout: Path) -> None:
    assert request.git_revision(checkout) == "unknown"
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "first")
    first = git(checkout, "rev-parse", "HEAD")
    assert request.git_revision(checkout) == first
    (checkout / "docs" / "README.md").write_text("more")
    assert request.git_revision(checkout) == first
    git(checkout, "commit", "--quiet", "-am", "documentation")
    assert request.git_revision(checkout) == first
    (checkout / "probes" / "cli.py").write_text("more")
    assert request.git_revision(checkout) == f"{first}-dirty"


# ---------------------------------------------------------------- the base


def test_the_base_says_which_wheels_fit() -> None:
    said = 'a warning of the base\n[[3, 13], "x86_64", ["glibc", "2.41"]]\n'
    python = BasePython.parse(said, "b")
    assert python.version == (3, 13)
    tags = wheels.platforms(python, "b")
    assert tags[0] == "manylinux_2_41_x86_64"
    assert "manylinux2014_x86_64" in tags


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('[[3, 10], "x86_64", ["glibc", "2.35"]]', r"base b has Python 3\.10; 3\.11 is needed"),
        ("", "no usable answer"),
        ("sh: python3: not found", "no usable answer"),
        ("[]", "no usable answer"),
    ],
)
def test_a_base_that_does_not_fit_is_named(said: str, problem: str) -> None:
    with pytest.raises(BuildError, match=problem):
        BasePython.parse(said, "b")


def test_a_base_without_glibc_is_refused() -> None:
    with pytest.raises(BuildError, match=r"alpine:3 has no glibc.*Debian or Ubuntu"):
        wheels.platforms(BasePython((3, 12), "x86_64", "", ""), "alpine:3")


# ---------------------------------------------------------------- what is missing


def test_a_missing_engine_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"buildah or docker is needed.*apt-get install buildah"):
        engine.find("", None)
    with pytest.raises(BuildError, match=r"docker is needed.*apt-get install docker\.io"):
        engine.find("docker", None)
    with pytest.raises(BuildError, match="apt-get install mmdebstrap"):
        plain.unpack(tmp_path / "rootfs.tar", plain.CONTROLLER)


def test_the_plain_base_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "buildah"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BuildError, match="--plain needs root"):
        engine.find("buildah", tmp_path / "store")


def test_a_failed_step_says_what_the_tool_said() -> None:
    script = "import sys; print('lost', file=sys.stderr); sys.exit(3)"
    with pytest.raises(BuildError, match=r"building x failed:\n  lost"):
        engine.call([sys.executable, "-c", script], what="building x", limit_s=30)


def test_a_deadline_ends_what_the_command_started_too() -> None:
    """The child holds the pipe open: killing the command alone would wait for the child."""
    began = time.monotonic()
    with pytest.raises(BuildError, match=r"building x: not done within 0\.2 s"):
        engine.call(["sh", "-c", "sleep 60 & wait"], what="building x", limit_s=0.2)
    assert time.monotonic() - began < 30


def test_the_wheel_of_the_probe_needs_what_the_node_part_uses_alone(tmp_path: Path) -> None:
    wheels.write_probe_setup(ROOT, tmp_path)
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(tmp_path / "setup.cfg", encoding="utf-8")
    needed = parsed["options"]["install_requires"].split("\n")
    names = {re.split("[ <>=]", line, maxsplit=1)[0] for line in needed if line}
    assert names == {
        "cryptography",
        "fastapi",
        "nvidia-ml-py",
        "prometheus-client",
        "pydantic",
        "rich",
        "uvicorn",
    }
    assert set(parsed["options.packages.find"]["include"].split()) == {
        "parsers",
        "parsers.*",
        "probes",
        "probes.*",
    }
    assert set(parsed["options.package_data"]) == {"parsers", "probes"}
    text = (tmp_path / "setup.cfg").read_text(encoding="utf-8").partition("[tool:pytest]")[0]
    assert "name = konduktor-health-probe" in text
    assert "konduktor-probe = probes.cli:main" in text
    for foreign in ("kubernetes", "konduktor_health", "attr:"):
        assert foreign not in text


def test_kubernetes_aio_is_not_imported() -> None:
    """The image has no bytecode of it (controller.Dockerfile)."""
    script = (
        "import sys, konduktor_health.adapters.kube.client, konduktor_health.cli.app,"
        " kubernetes.client, kubernetes.config, kubernetes.stream, kubernetes.watch;"
        "sys.exit(any(name.startswith(('kubernetes.aio', 'aiohttp')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=60, cwd=ROOT)
    assert done.returncode == 0


# ---------------------------------------------------------------- reading archives


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Path]:
    def make(*layers: bytes, spoil: bool = False) -> Path:
        files: dict[str, bytes] = {}

        def blob(data: bytes) -> str:
            value = hashlib.sha256(data).hexdigest()
            files[f"blobs/sha256/{value}"] = data
            return f"sha256:{value}"

        manifest = {
            "config": {"digest": blob(b'{"config": {"User": "1", "Labels": {"a": "b"}}}')},
            "layers": [{"digest": blob(layer)} for layer in layers],
        }
        digest = blob(json.dumps(manifest).encode())
        listed = {
            "digest": digest,
            "annotations": {"org.opencontainers.image.ref.name": "localhost/x:1"},
        }
        files["index.json"] = json.dumps({"manifests": [listed]}).encode()
        if spoil:
            files[digest.replace("sha256:", "blobs/sha256/")] += b" "
        path = tmp_path / "x.tar"
        path.write_bytes(tar_of(files))
        return path

    return make


def test_an_archive_is_read_as_a_container_sees_it(make_archive: Callable[..., Path]) -> None:
    base = tar_of({"./etc/a": b"12", "usr/pip/x": b"1", "usr/pip/y": b"1", "usr/pipes": b"1"})
    ours = tar_of({"usr/.wh.pip": b"", "etc/a": b"123"})
    image = archive.read(make_archive(base, gzip.compress(ours)))
    assert set(image.entries) == {"etc/a", "usr/pipes"}
    assert image.entries["etc/a"].size == 3
    assert image.unpacked_bytes == 8  # what both layers take on a node's disk
    assert image.name == "localhost/x:1"
    assert image.labels == {"a": "b"}


def test_a_spoiled_archive_is_refused(make_archive: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(archive.ArchiveError, match="other content"):
        archive.read(make_archive(tar_of({}), spoil=True))
    (tmp_path / "no.tar").write_bytes(b"no tar at all")
    with pytest.raises(archive.ArchiveError, match=r"no\.tar: not an OCI archive"):
        archive.read(tmp_path / "no.tar")
    (tmp_path / "other.tar").write_bytes(tar_of({"manifest.json": b"[]"}))
    with pytest.raises(archive.ArchiveError, match=r"index\.json"):
        archive.read(tmp_path / "other.tar")
