"""How does a program become a container image without any builder?

One static busybox, as an OCI archive that containerd imports: test pods run it, and it is the
pause container of every pod.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

BUSYBOX = "localhost/busybox:1"
_APPLETS = ("sh", "sleep", "cat", "echo", "id", "wget", "ls")
_OCI = "application/vnd.oci.image"


def write_busybox(program: Path, archive: Path) -> None:
    """Write an archive with the image BUSYBOX: the program and links to it in /bin."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        content = program.read_bytes()
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
        for applet in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    blobs = _Blobs()
    config = blobs.add(
        f"{_OCI}.config.v1+json",
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "2000000000"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"],
            },
        },
    )
    layers = [blobs.add(f"{_OCI}.layer.v1.tar", layer.getvalue())]
    manifest_type = f"{_OCI}.manifest.v1+json"
    manifest = blobs.add(
        manifest_type,
        {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers},
    )
    named = {**manifest, "annotations": {"io.containerd.image.name": BUSYBOX}}
    blobs.files["index.json"] = _json({"schemaVersion": 2, "manifests": [named]})
    blobs.files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    with tarfile.open(archive, "w") as tar:
        for name, content in blobs.files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))


class _Blobs:
    """Files of the archive, named by their digest."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, media_type: str, content: bytes | dict[str, Any]) -> dict[str, Any]:
        """Add a file and return its descriptor."""
        data = content if isinstance(content, bytes) else _json(content)
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
