"""What else does the agent remember over a restart? What checks keep, the controller's settings,
and in which boot its boot checks were run.

Invariants: what is damaged or cannot be written costs that item alone; settings never go back to
older ones.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from probes.agent.files import StateDir
from probes.agent.log import Log
from probes.check import NodeFacts
from probes.report import MOST_BODY_BYTES, NodeSettings

_KEEP = "keep"
#: ``Context.keep`` is at most 64 KiB.
_MOST_KEEP_BYTES = 128 * 1024
_SETTINGS = "settings.json"
_BOOTED = "booted.json"


@dataclass(frozen=True, slots=True)
class Booted:
    """What the boot checks were last run for."""

    boot_id: str
    driver: str  # ``boots.driver_load``


class Memory:
    """Written by the worker's thread, but for settings."""

    def __init__(self, state: StateDir, log: Log) -> None:
        self._state, self._log = state, log
        state.sub(_KEEP)
        self._kept: dict[str, Mapping[str, object]] = {}
        self._settings = state.read(
            _SETTINGS, NodeSettings.model_validate_json, most_bytes=MOST_BODY_BYTES
        )
        self._booted = state.read(_BOOTED, _booted, most_bytes=4096)

    # ------------------------------------------------------------ what checks keep

    def before(self, checks: Collection[str]) -> dict[str, Mapping[str, object]]:
        """What these checks kept; nothing of one that kept nothing."""
        for check in checks:
            if check not in self._kept:
                kept = self._state.read(
                    f"{_KEEP}/{check}.json", _object, most_bytes=_MOST_KEEP_BYTES
                )
                self._kept[check] = kept or {}
        return {check: self._kept[check] for check in checks if self._kept[check]}

    def keep(self, kept: Mapping[str, Mapping[str, object]]) -> None:
        """What each of these checks wants to see next time."""
        for check, value in kept.items():
            if self._kept.get(check) == value:
                continue
            try:
                content = json.dumps(value, allow_nan=False).encode()
            except (ValueError, TypeError, RecursionError) as error:
                self._log.warning("a check keeps what cannot be kept", check=check, why=error)
                continue
            if len(content) > _MOST_KEEP_BYTES:
                self._log.warning("a check keeps too much", check=check, bytes=len(content))
                continue
            self._kept[check] = value
            try:
                self._state.write(f"{_KEEP}/{check}.json", content, durable=False)
            except OSError as error:
                self._log.warning("what a check keeps is not written", check=check, why=error)

    # ------------------------------------------------------------ settings of the controller

    @property
    def settings(self) -> NodeSettings | None:
        """The newest that were taken."""
        return self._settings

    def take(self, settings: NodeSettings) -> bool:
        """Put settings in force. False: those in force are newer. Raises OSError: not kept."""
        if self._settings is not None and settings.issued_ns < self._settings.issued_ns:
            return False
        self._state.write(_SETTINGS, settings.model_dump_json().encode(), durable=True)
        self._settings = settings
        return True

    def facts(self, node: str) -> NodeFacts:
        """What the checks are told of the node."""
        settings = self._settings
        if settings is None or settings.node != node:
            return NodeFacts(name=node)
        return NodeFacts(
            name=node,
            labels=settings.labels,
            expected_gpus=settings.expected_gpus,
            thresholds=settings.thresholds,
            peers=settings.peers,
        )

    # ------------------------------------------------------------ boot checks

    @property
    def booted(self) -> Booted | None:
        """For which boot and load of the driver the boot checks were run."""
        return self._booted

    def has_booted(self, booted: Booted) -> None:
        """They were run for this one."""
        self._booted = booted
        content = json.dumps({"boot_id": booted.boot_id, "driver": booted.driver}).encode()
        try:
            self._state.write(_BOOTED, content, durable=True)
        except OSError as error:  # a restart runs them once more
            self._log.warning("that boot checks were run is not written", why=error.strerror)

    def forget(self, checks: Iterable[str]) -> None:
        """Remove what is kept for checks that are not among these."""
        known = {f"{check}.json" for check in checks}
        folder = os.path.join(self._state.path, _KEEP)
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if name not in known:
                    os.unlink(os.path.join(folder, name))


def _object(content: bytes) -> Mapping[str, object]:
    value: Any = json.loads(content)
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _booted(content: bytes) -> Booted:
    value: Any = json.loads(content)
    boot_id, driver = value["boot_id"], value["driver"]
    if not isinstance(boot_id, str) or not isinstance(driver, str):
        raise TypeError("no text")
    return Booted(boot_id, driver)
