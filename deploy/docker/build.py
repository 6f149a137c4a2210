"""How are both images built into OCI archives, from this checkout alone?

    python deploy/docker/build.py --base python@sha256:...   a release
    python deploy/docker/build.py --plain                    no registry can be reached

Steps: base (named, or made from Debian packages), wheels for the base's Python, build context,
two images, two archives with their names in them, images.json. What did not change is not done
again: the key over sources, Dockerfiles, base and arguments lies in images.json, and wheels and
the plain base lie in the cache. Standard library only, and pip of the Python that runs it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # run as a file: the checkout is not on the path then

from deploy.docker import archive, engine, plain, wheels  # noqa: E402 - the path comes first
from deploy.docker.engine import BasePython, BuildError, Engine  # noqa: E402 - the path comes first
from deploy.docker.request import Options, parse  # noqa: E402 - the path comes first
from tests.servers.build import cache_root  # noqa: E402 - the path comes first

HERE = Path(__file__).resolve().parent
CUDA_PROGRAMS = ("bandwidth", "gpucheck", "memtest")
IMAGES = {"konduktor-health": "controller", "konduktor-health-probe": "probe"}
LOCK_S = 1200.0
T = TypeVar("T")


@dataclass(frozen=True)
class Built:
    """One line of images.json; sizes in bytes, ``file`` is relative to images.json."""

    name: str
    file: str
    archive_bytes: int
    unpacked_bytes: int
    digest: str
    base: str
    base_digest: str
    python: str


@dataclass(frozen=True)
class Bases:
    """The base of each image, and its Python."""

    controller: str
    controller_python: BasePython
    probe: str
    probe_python: BasePython


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 a step failed (the message says which and why), 2 wrong usage."""
    options = parse(ROOT, arguments)
    try:
        with _locked(cache_folder()):
            print(table(run(options)))
    except (BuildError, archive.ArchiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def cache_folder() -> Path:
    """Where wheels and the plain base lie (``KONDUKTOR_HEALTH_CACHE`` overrides it)."""
    return cache_root() / "images"


def cuda_programs(folder: Path) -> list[Path]:
    """The compiled CUDA programs (`make cuda`); empty where not all of them are there."""
    programs = [folder / name for name in CUDA_PROGRAMS]
    return programs if all(path.is_file() for path in programs) else []


def build_key(options: Options, root: Path, programs: Sequence[Path] = ()) -> str:
    """Everything that goes into the archives; the same key means nothing to do."""
    program = sorted((root / "deploy" / "docker").glob("*.py"))
    dockerfiles = sorted((root / "deploy" / "docker").glob("*.Dockerfile"))
    asked = {key: value for key, value in asdict(options).items() if key not in ("out", "force")}
    return wheels.content_key(
        root,
        [*wheels.source_files(root), *program, *dockerfiles],
        json.dumps(asked, sort_keys=True),
        *[plain.describe(kind) for kind in (plain.CONTROLLER, plain.PROBE) if options.plain],
        *[hashlib.sha256(path.read_bytes()).hexdigest() for path in programs],
    )


def run(options: Options) -> list[Built]:
    """Build what is not there yet; returns what lies in the output folder.

    Raises:
        BuildError: a step failed.
        ArchiveError: the engine wrote no OCI archive.
    """
    programs = cuda_programs(ROOT / "build" / "cuda")
    key = build_key(options, ROOT, programs)
    if not options.force and (done := up_to_date(options.out, key)):
        return done
    cache = cache_folder()
    chosen = engine.find(options.engine, cache / "store" if options.plain else None)
    chosen.tidy()
    base, probe_base = options.base, options.probe_base
    if options.plain:
        base, probe_base = (
            plain_base(chosen, cache, kind, options.force)
            for kind in (plain.CONTROLLER, plain.PROBE)
        )
    python = _step(f"base {base}", lambda: chosen.python_of(base))
    probe_python = python if probe_base == base else chosen.python_of(probe_base)
    context = options.out / "context"
    bases = Bases(base, python, probe_base, probe_python)
    _step("wheels", lambda: fill_context(context, cache, bases, options.force))
    (context / "cuda").mkdir()
    for program in programs:
        shutil.copy(program, context / "cuda")
    if not programs:
        print("no CUDA programs in the probe: make cuda compiles them", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    built = []
    for name, dockerfile in IMAGES.items():
        its_base, its_python = (
            (probe_base, probe_python) if dockerfile == "probe" else (base, python)
        )
        make = partial(_build, chosen, options, context, name, dockerfile, its_base, its_python)
        built.append(_step(name, make))
    content = {"key": key, "images": [asdict(each) for each in built]}
    _write(options.out / "images.json", json.dumps(content, indent=2) + "\n")
    return built


def up_to_date(out: Path, key: str) -> list[Built]:
    """What images.json lists, if it was made with this key and the archives are there."""
    try:
        content = json.loads((out / "images.json").read_text(encoding="utf-8"))
        built = [Built(**each) for each in content["images"]]
        sizes = [(out / each.file).stat().st_size for each in built]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    same = content["key"] == key and sizes == [each.archive_bytes for each in built]
    return built if same else []


def plain_base(chosen: Engine, cache: Path, kind: plain.Kind, force: bool) -> str:
    """The name of a plain base in the private store; made where it is not there."""
    key = wheels.content_key(HERE, [HERE / "plain-base.Dockerfile"], plain.describe(kind))
    image = f"localhost/konduktor-health-plain-base:{key}"
    if not force and chosen.exists(image):
        return image
    folder = cache / f"plain-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    rootfs = folder / "rootfs.tar"
    if force or not rootfs.exists():
        _step(f"plain base of the {kind.name}: Debian packages", lambda: plain.unpack(rootfs, kind))
    _step(
        f"plain base of the {kind.name}: image",
        lambda: chosen.build(HERE / "plain-base.Dockerfile", folder, image, {}),
    )
    return image


def fill_context(context: Path, cache: Path, bases: Bases, force: bool) -> None:
    """Make the build context anew, from wheels of the cache where they are there."""
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for folder, needed, base, python in (
        ("wheels", wheels.requirements(ROOT), bases.controller, bases.controller_python),
        ("probe-wheels", wheels.probe_requirements(ROOT), bases.probe, bases.probe_python),
    ):
        fits = f"{python.version} {wheels.platforms(python, base)}"
        key = wheels.content_key(ROOT, [], *needed, fits)
        fetch = partial(wheels.download, needed, python, base)
        _copy(_cached(cache / f"wheels-{key}", force, fetch), context / folder)
    _copy(_cached(cache / "pip", force, wheels.download_pip), context / "pip")
    backend_key = wheels.content_key(ROOT, [ROOT / "pyproject.toml"], sys.version)
    install = partial(wheels.install_backend, ROOT)
    backend = _cached(cache / f"backend-{backend_key}", force, install)
    wheels.build_project(ROOT, backend, context / "wheels", context / "probe-wheels")


def _cached(entry: Path, force: bool, make: Callable[[Path], None]) -> Path:
    """A folder of the cache; made where it is not there, and then wholly or not at all."""
    if force:
        shutil.rmtree(entry, ignore_errors=True)
    if not entry.is_dir():
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent) as scratch:
            made = Path(scratch, "made")
            made.mkdir()
            make(made)
            made.rename(entry)
    return entry


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def _build(
    chosen: Engine,
    options: Options,
    context: Path,
    name: str,
    dockerfile: str,
    base: str,
    python: BasePython,
) -> Built:
    image = f"{options.name_prefix}{name}:{options.tag}"
    base_digest = chosen.digest_of(base)
    arguments = {
        "BASE": base,
        "BASE_DIGEST": base_digest,
        "VERSION": wheels.version(ROOT),
        "REVISION": options.revision,
    }
    chosen.build(HERE / f"{dockerfile}.Dockerfile", context, image, arguments)
    target = options.out / f"{name}.tar"
    part = options.out / f"{name}.part.tar"
    part.unlink(missing_ok=True)
    try:
        chosen.save(image, part)
        found = archive.read(part)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
        chosen.remove(image)
    return Built(
        name=image,
        file=target.name,
        archive_bytes=found.archive_bytes,
        unpacked_bytes=found.unpacked_bytes,
        digest=found.digest,
        base=base,
        base_digest=base_digest,
        python=".".join(str(part) for part in python.version),
    )


def table(built: Sequence[Built]) -> str:
    """Names and sizes for a terminal; 1 MB is 1,000,000 bytes."""
    lines = [f"{'image':44} {'archive MB':>11} {'unpacked MB':>12}  digest"]
    lines += [
        f"{each.name:44} {each.archive_bytes / 1e6:11.1f} {each.unpacked_bytes / 1e6:12.1f}"
        f"  {each.digest[:19]}"
        for each in built
    ]
    return "\n".join(lines)


def _step(what: str, do: Callable[[], T]) -> T:
    began = time.monotonic()
    done = do()
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)
    return done


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One build at a time: both would write the same files."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as file:
        deadline = time.monotonic() + LOCK_S
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError("another build has not ended") from None
                if not told:
                    print("waiting for another build ...", flush=True)
                told = True
                threading.Event().wait(0.5)
            else:
                break
        yield


if __name__ == "__main__":
    sys.exit(main())
