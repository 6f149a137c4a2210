"""What did ``dcgmi diag -j`` say?

DCGM 3 has the root "DCGM GPU Diagnostic", names its tests for people ("GPU Memory") and its GPUs
by ``gpu_ids`` or ``gpu_id``; software results are of the whole node. DCGM 4 has "DCGM Diagnostic",
short names ("memory"), ``entity_id``, and a ``test_summary``
(github.com/NVIDIA/DCGM, ``testing/python3/dcgm_diag_schema.json``).

Invariants:
- The JSON counts, not the exit status: dcgmi exits with 226 when tests failed, and what failed is
  in the JSON. An output without it is CheckError, or Skipped where another diagnostic holds the
  GPUs.
- Every result is read, and the summary beside them: one that says Fail is never lost.
- A status that is not known is kept as UNKNOWN; it is no pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.dcgm_trouble import trouble, without_json
from probes.tools.reading import ending, excerpt, items, json_object, mapping, word

ROOTS = ("DCGM Diagnostic", "DCGM GPU Diagnostic")

#: Most GPU ids in one result, and the highest id (DCGM_MAX_NUM_DEVICES is 32).
_MOST_GPUS = 64
#: Results of other entities (CPUs, switches) are read as those of the node.
_GPU_GROUP = "gpu"


class Status(Enum):
    """What DCGM says of one test on one GPU."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    NOT_RUN = "not run"
    UNKNOWN = "unknown"  # a word that is not in the list


_STATUS = {
    "pass": Status.PASS,
    "fail": Status.FAIL,
    "warn": Status.WARN,
    "skip": Status.SKIP,
    "skipped": Status.SKIP,
    "notrun": Status.NOT_RUN,
    "not run": Status.NOT_RUN,
}


@dataclass(frozen=True, slots=True)
class DiagWarning:
    """Why a test is not well. The numbers are DCGM's own (``dcgmlib/dcgm_errors.h``)."""

    text: str
    error_id: int | None = None
    severity: int | None = None


@dataclass(frozen=True, slots=True)
class DiagResult:
    """One test on one GPU; ``gpu`` None: on the node as a whole, or it is not told."""

    test: str  # as ``key``: "memory", "pcie", "page_retirement_row_remap"
    gpu: int | None
    status: Status
    warnings: tuple[DiagWarning, ...] = ()
    info: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diag:
    """A diagnostic that ran."""

    version: str  # of DCGM; "" is not told
    results: tuple[DiagResult, ...]
    serials: Mapping[int, str]  # of GPU ids, where told


def key(name: str) -> str:
    """The name of a test as tables have it: "GPU Memory" and "memory" are both "memory".

    DCGM 3 spells its tests for people, and some of them otherwise than DCGM 4 (NVIDIA/DCGM#296).
    """
    plain = re.sub(r"[\s/|-]+", "_", name.strip().lower())[:64]
    return _RENAMED.get(plain, plain)


_RENAMED = {
    "gpu_memory": "memory",
    "blacklist": "denylist",
    "permissions_and_os_related_blocks": "permissions_and_os_blocks",
    "environmental_variables": "environment_variables",
    "pulse_test": "pulse",
    "eud_test": "eud",
}


def parse_diag(output: ToolOutput) -> Diag:
    """Read ``dcgmi diag -j -r LEVEL``.

    Raises Skipped while another diagnostic holds the GPUs, CheckError for trouble of the host
    engine and for what is not understood.
    """
    try:
        document = json_object(output.stdout, ROOTS, "dcgmi diag")
    except CheckError as error:
        raise without_json(output, error) from None
    root = next(mapping(document[name], name) for name in ROOTS if name in document)
    runtime_error = root.get("runtime_error")
    if runtime_error:
        raise trouble(word(runtime_error, "runtime_error"), None)
    results: list[DiagResult] = []
    for category in items(root.get("test_categories"), "test_categories", 64):
        for test in items(mapping(category, "category").get("tests"), "tests", 64):
            if test is not None:  # nvvs of DCGM 3.1 separates its tests with nulls
                results.extend(_test(mapping(test, "test")))
    if not results:
        raise CheckError(f"dcgmi diag ({ending(output)}): its JSON has no results")
    if output.returncode < 0:
        raise CheckError(f"dcgmi diag was ended by {ending(output)}; its results are not whole")
    return Diag(_version(document, root), tuple(results), _serials(document))


def _test(test: Mapping[str, object]) -> list[DiagResult]:
    name = key(word(test.get("name"), "name of a test"))
    found: list[DiagResult] = []
    for entry in items(test.get("results", []), f"results of {name}", 1024):
        result = mapping(entry, f"result of {name}")
        status = _status(result.get("status"), name)
        warnings, info = _warnings(result.get("warnings"), name), _info(result.get("info"))
        found += [DiagResult(name, gpu, status, warnings, info) for gpu in _gpus(result, name)]
    if "test_summary" in test:
        summary = mapping(test["test_summary"], f"summary of {name}")
        status = _status(summary.get("status"), name)
        # It repeats the results. It adds one only where it says more: worse, or all there is.
        says_more = status is not Status.PASS and all(r.status is not status for r in found)
        if says_more or not found:
            warnings = _warnings(summary.get("warnings"), name)
            found.append(DiagResult(name, None, status, warnings, _info(summary.get("info"))))
    if not found:
        raise CheckError(f"dcgmi diag: test {name!r} has neither results nor a summary")
    return found


def _status(value: object, test: str) -> Status:
    text = word(value, f"status of {test}")
    return _STATUS.get(text.strip().lower(), Status.UNKNOWN)


def _gpus(result: Mapping[str, object], test: str) -> tuple[int | None, ...]:
    if "entity_id" in result:
        group = word(result.get("entity_group", "GPU"), f"entity_group of {test}")
        if group.lower() != _GPU_GROUP:
            return (None,)
        return (_gpu(result["entity_id"], test),)
    ids = result.get("gpu_ids", result.get("gpu_id"))
    if ids is None:
        return (None,)
    if isinstance(ids, str):
        parts = [part.strip() for part in ids.split(",")][: _MOST_GPUS + 1]
        return tuple(_gpu(int(p) if p.isdecimal() and len(p) < 4 else p, test) for p in parts)
    return (_gpu(ids, test),)


def _gpu(value: object, test: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_GPUS:
        raise CheckError(f"dcgmi diag: {test!r} names GPU {excerpt(str(value))}")
    return value


def _warnings(value: object, test: str) -> tuple[DiagWarning, ...]:
    """Objects in DCGM 4 and late DCGM 3, before that a text or several."""
    if value is None:
        return ()
    entries = items(value, f"warnings of {test}", 1024) if isinstance(value, list) else [value]
    made: list[DiagWarning] = []
    for entry in entries:
        if isinstance(entry, str):
            made.append(DiagWarning(word(entry, "warning")))
        else:
            fields = mapping(entry, f"warning of {test}")
            text = word(fields.get("warning", fields.get("message", "")), "warning")
            error_id, severity = (
                _whole(fields.get("error_id")),
                _whole(fields.get("error_severity")),
            )
            made.append(DiagWarning(text, error_id, severity))
    return tuple(made)


def _info(value: object) -> tuple[str, ...]:
    """A list in DCGM 4, one text with commas in DCGM 3."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value[:4096].split(", "))
    if isinstance(value, list):
        return tuple(str(entry)[:512] for entry in value[:64] if isinstance(entry, str))
    return ()


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _version(document: Mapping[str, object], root: Mapping[str, object]) -> str:
    metadata = document.get("metadata")
    told = metadata.get("version") if isinstance(metadata, dict) else root.get("version")
    return word(told, "version") if isinstance(told, str) else ""


def _serials(document: Mapping[str, object]) -> dict[int, str]:
    """Serial numbers of DCGM 4; "<<<NOT_SUPPORTED>>>" stands where a GPU has none."""
    serials: dict[int, str] = {}
    groups = document.get("entity_groups")
    for group in groups if isinstance(groups, list) else []:
        if not isinstance(group, dict) or group.get("entity_group") != "GPU":
            continue
        entities = group.get("entities")
        for entity in entities if isinstance(entities, list) else []:
            number = _whole(entity.get("entity_id")) if isinstance(entity, dict) else None
            serial = entity.get("serial_num") if isinstance(entity, dict) else None
            if number is not None and isinstance(serial, str) and "<" not in serial:
                serials[number] = word(serial, "serial_num")
    return serials
