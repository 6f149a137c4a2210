"""What is replayed: entries of files or of Loki in the order of their time, and which nodes there
are.

Files are read as ``scan`` reads them, each as a stream; several are merged by time. A line that
names no node is of the node that its file is named after.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from konduktor_health.cli.scan import STDIN, Watch, scan_file
from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.model import NodeView
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import of_entry, of_fault
from parsers.decode import Decoder
from parsers.printable import printable
from parsers.record import unwrap
from parsers.tables import Tables

if TYPE_CHECKING:
    from konduktor_health.settings import Settings

SOURCE = "files"
MOST_FILES = 500  # all are open at a time
NODE_LIST_BYTES = 1 << 30
_NAME_LIMIT = 253
_LOOKED_AT = 200  # lines, after which a file is known to be the wrong way round
_PACKED = frozenset({".gz", ".xz", ".bz2", ".log", ".txt", ".json", ".jsonl", ".export"})


def from_files(
    paths: Sequence[str], stdin: BinaryIO, watch: Watch | None, read: Tables
) -> Iterator[LogEntry]:
    """Entries of the faults in these files, oldest first. Raises ConfigError for a file that cannot
    be read, after what could be read of it."""
    if len(paths) > MOST_FILES:
        raise ConfigError(
            f"{len(paths)} files at a time, at most {MOST_FILES} can be merged",
            hint="join the files of one node, the oldest first",
        )
    sizes = [_size(path) for path in paths]
    total, done = sum(sizes), [0] * len(paths)

    def watched(at: int) -> Watch | None:
        if watch is None:
            return None
        tell = watch

        def told(position: int, _size: int) -> None:
            done[at] = position
            tell(sum(done), max(total, 1))

        return told

    streams = [_of_file(path, stdin, watched(at), read) for at, path in enumerate(paths)]
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_time)


def _of_file(path: str, stdin: BinaryIO, watch: Watch | None, read: Tables) -> Iterator[LogEntry]:
    home = _node_of(path)
    before_ns, earlier, looked_at = 0, 0, 0
    for hit in scan_file(path, stdin, watch, read):
        fault = hit.fault
        if not fault.node:
            fault.node = home
        if looked_at < _LOOKED_AT:
            looked_at += 1
            earlier += fault.time_ns < before_ns
            before_ns = fault.time_ns
            if looked_at == _LOOKED_AT and earlier > _LOOKED_AT * 3 // 4:
                raise ConfigError(
                    f"{path}: the newest lines come first",
                    hint="logcli --forward, or turn the file round with tac",
                )
        yield of_fault(fault, SOURCE)


def from_loki(
    settings: Settings, start_ns: int, end_ns: int, read: Tables, watch: Watch | None
) -> Generator[LogEntry, None, None]:
    """Entries of all configured sources in [start, end), oldest first. Raises errors of Loki."""
    from konduktor_health.adapters.loki import (
        LokiClient,
        build_specs,
        for_cluster,
        history,
        literals_for,
    )
    from konduktor_health.clock import SystemClock

    clock = SystemClock()
    streams: list[Iterator[LogEntry]] = []
    for each in build_specs(settings):
        spec = for_cluster(each, settings.reading)
        client = LokiClient(settings.loki, clock=clock)
        found = history(
            client, spec, start_ns, end_ns, literals=literals_for(spec, read), unwrap=unwrap
        )
        streams.append(_decoded(found, Decoder(read)))
    merged = heapq.merge(*streams, key=_time)
    return merged if watch is None else _watched(merged, start_ns, end_ns, watch)


def nodes_in(path: Path, settings: Settings) -> list[NodeView]:
    """The nodes of a list as ``kubectl get nodes -o json`` prints it. Raises ConfigError."""
    from konduktor_health.adapters.kube.nodes import NodeDecoder  # loads the Kubernetes client

    wanted = settings.cluster
    decoder = NodeDecoder(settings.keys(), wanted.node_selector, wanted.gpu_resource)
    hint = "kubectl get nodes -o json > nodes.json"
    try:
        if path.stat().st_size > NODE_LIST_BYTES:
            raise ConfigError(f"node list {path}: larger than 1 GiB", hint=hint)
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"node list {path}: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"node list {path}: not JSON: {excerpt(str(error))}", hint=hint
        ) from error
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise ConfigError(f"node list {path}: no list of Nodes in it", hint=hint)
    views = [view for item in items if (view := decoder.view(item)) is not None]
    if not views:
        raise ConfigError(f"node list {path}: no Node in it", hint=hint)
    return views


def _decoded(entries: Iterable[LogEntry], decoder: Decoder) -> Iterator[LogEntry]:
    for entry in entries:
        yield of_entry(entry, decoder)


def _watched(
    entries: Iterable[LogEntry], start_ns: int, end_ns: int, watch: Callable[[int, int], None]
) -> Generator[LogEntry, None, None]:
    for entry in entries:
        watch(max(0, entry.time_ns - start_ns), max(1, end_ns - start_ns))
        yield entry


def _node_of(path: str) -> str:
    """The node that a file is named after: its name up to endings of logs and of packing."""
    if path == STDIN:
        return ""
    name = Path(path).name
    while (stem := Path(name)).suffix.lower() in _PACKED:
        name = stem.stem
    return printable(name, _NAME_LIMIT)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size if path != STDIN else 0
    except (OSError, ValueError):
        return 0  # what is wrong with it is told when it is opened


def _time(entry: LogEntry) -> int:
    return entry.time_ns
