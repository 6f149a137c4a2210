"""A mounted ConfigMap, for files that a controller reads again."""

from __future__ import annotations

from pathlib import Path


class Mount:
    """A ConfigMap as a kubelet mounts it: a change swaps a symbolic link."""

    def __init__(self, folder: Path, name: str = "rules.yaml") -> None:
        self._folder, self._versions, self._name = folder / "mount", 0, name
        self._folder.mkdir()
        self.path = self._folder / name
        self.path.symlink_to(f"..data/{name}")

    def put(self, content: str) -> None:
        """The ConfigMap has this content now."""
        self._versions += 1
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        (version / self._name).write_text(content)
        (self._folder / "..new").symlink_to(version.name)
        (self._folder / "..new").rename(self._folder / "..data")
