"""What would an expert say about this log? Per device, the worst first.

What happened, how bad it is, what to do now (the driver's own directive outranks the catalog), what
to look at next, what was repaired since, and what is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from konduktor_health.cli.scan_events import ORDER, Device, Event, Story
from konduktor_health.timestamps import rfc3339
from parsers import catalog, tables
from parsers.fault import Remedy, Severity, Trust
from parsers.scan import ScanHit
from parsers.tables import Tables

_ADVICE = {
    Remedy.NONE: "nothing to repair",
    Remedy.RESTART_APP: "restart the application",
    Remedy.RESET_GPU: "reset the GPU",
    Remedy.DRAIN_RESET: "drain the node and reset the GPU when it is idle",
    Remedy.DRAIN_INSPECT: "drain the node and inspect it",
    Remedy.REBOOT: "reboot the node",
    Remedy.POWER_CYCLE: "power-cycle the node",
    Remedy.INSPECT: "inspect the hardware",
}
NOTHING = "No faults found."
_SHOWN = 5  # events of one device that are told in full; the others are counted
_LOOKS = 2  # hints of one device


def render_summary(hits: Iterable[tuple[str, ScanHit]], rules: Tables | None = None) -> str:
    """The whole summary, of hits with their file's name or "". ``rules`` explain the faults."""
    rules = tables.shipped() if rules is None else rules
    story = Story(rules)
    for file, hit in hits:
        story.add(hit, file)
    story.end()
    if not any(device.events for device in story.devices.values()):
        return NOTHING
    return "\n".join(_lines(story, rules))


def _lines(story: Story, rules: Tables) -> Iterator[str]:
    devices = sorted((each for each in story.devices.values() if each.events), key=_order)
    worse = [each for each in devices if _telling(each)]
    said = ", ".join(
        f"{story.counts[severity]} {severity.value}"
        for severity in Severity
        if story.counts[severity]
    )
    yield f"{_some(len(worse), 'device')} with faults; lines: {said}"
    for device in worse:
        yield ""
        yield from _device(device, rules)
    quiet: dict[str, Counter[str]] = {}
    for device in devices:
        for event in filter(_is_info, device.events.values()):
            quiet.setdefault(device.node, Counter())[_name(event)] += event.count
    for node, counts in quiet.items():
        yield ""
        yield f"{node or 'the node'}: also, only worth counting: {_counted(counts)}"
    if story.lost:
        yield ""
        yield (
            f"not known: what was in lines that were lost; {_some(story.lost, 'line')} of this log"
            " told of such"
        )
    if story.dropped:
        yield ""
        yield f"not shown: {_some(story.dropped, 'fault')} more, of too many devices or kinds"


def _device(device: Device, rules: Tables) -> Iterator[str]:
    events = _telling(device)
    worst = events[0]
    yield f"{_where(device)}: {_worst(device).value}{_standing(device, worst)}"
    for event in events[:_SHOWN]:
        yield from _event(device, event, rules)
    if len(events) > _SHOWN:
        rest = Counter({_name(event): event.count for event in events[_SHOWN:]})
        yield f"  further: {_counted(rest)}"
    yield f"  do now: {_advice(device, worst)}"
    looks = dict.fromkeys(
        look for event in events if (look := _known(event, rules)[1]) and _open(device, event)
    )
    for look in [*looks][:_LOOKS]:
        yield f"  look at: {look}"
    yield from (f"  repaired since: {text}" for text in _repairs(device, events))
    for event in events:
        if event.severity is Severity.UNKNOWN:
            what = "says, which could not be read" if _known(event, rules)[0] else "means"
            yield f"  not known: what {_name(event)} {what}; look at line {event.last}"


def _standing(device: Device, worst: Event) -> str:
    if _open(device, worst):
        return ""
    return ", repaired or over since" if worst.proven else ", not proven"


def _event(device: Device, event: Event, rules: Tables) -> Iterator[str]:
    meaning = _known(event, rules)[0]
    told = f"  {_name(event)}{_times(event.count)}, {event.severity.value}"
    yield told + (f": {meaning}" if meaning else "")
    parts = [_span(event)]
    if port := event.fault.detail.get("port"):
        parts.append(f"port {port}")
    if event.beside:
        parts.append(f"with it {_beside(event, device)}")
    memory = device.memory.why if device.memory and event is device.about_memory() else ""
    parts += [text for text in (memory, event.why, event.state) if text]
    if event.fault.injected:
        parts.append("a program wrote it into the kernel log: it proves nothing")
    elif event.fault.trust is Trust.POD:
        parts.append("a pod's log says so: verify it on the node")
    yield f"    {'; '.join(parts)}"


def _advice(device: Device, worst: Event) -> str:
    order = device.ordered()
    if order is not None:
        said = order.fault.detail.get("action", "")
        return f"the driver says {said!r}, so {_ADVICE[order.remedy]}"
    if not worst.proven:
        return "nothing on this evidence; look for a line of the kernel, or run a probe"
    if worst.over or device.repaired(worst):
        return "nothing, what it asks for was done; verify the device before jobs use it"
    if worst.severity is Severity.UNKNOWN:
        return "its meaning is not known, look at the line"
    memory = device.memory
    if memory is not None and not worst.judged and worst is device.about_memory():
        return _ADVICE[memory.remedy]
    return _ADVICE[worst.remedy]


def _repairs(device: Device, events: list[Event]) -> Iterator[str]:
    """What was repaired, and what is not known to be."""
    done = {text: None for event in events if (text := device.repaired(event))}
    yield from done
    acting = (Severity.FATAL, Severity.DEGRADED)
    if any(e.severity in acting and _open(device, e) for e in events):
        rest = " for the rest" if done else ""
        yield f"not known{rest}; this log shows no reset or reboot that would do after it"


def _known(event: Event, rules: Tables) -> tuple[str, str]:
    """What the fault means, and what to look at next; "" where nobody knows."""
    fault_id = event.fault.fault_id
    rule = rules.kernel.rule(fault_id) or rules.pod.rule(fault_id)
    if rule is not None:
        return rule.meaning, rule.investigation
    kind, _, code = fault_id.partition("/")
    table = rules.xids if kind == "xid" else rules.sxids if kind == "sxid" else {}
    entry = table.get(int(code)) if table else catalog.entry(fault_id)
    return (entry.meaning, entry.investigation) if entry else ("", "")


def _worst(device: Device) -> Severity:
    """How bad it is now: what was repaired since, or is not proven, counts for less."""
    events = _telling(device) or device.worst()
    now = [event for event in events if _open(device, event)]
    return min((event.severity for event in now or events), key=lambda each: each.rank)


def _open(device: Device, event: Event) -> bool:
    """Does it still ask for something, on good evidence?"""
    return event.proven and not event.over and not device.repaired(event)


def _order(device: Device) -> tuple[int, int, str, str]:
    first = device.worst()[0]
    rank = _worst(device).rank if _open(device, first) else len(Severity)
    return (rank, first.severity.rank, device.node,
            device.name)  # fmt: skip


def _telling(device: Device) -> list[Event]:
    """What is told one by one, the worst first. The driver's order is told as what to do, unless
    there is nothing else."""
    events = [event for event in device.worst() if not _is_info(event)]
    causes = [event for event in events if event.fault.fault_id != ORDER or not event.proven]
    return causes or events


def _is_info(event: Event) -> bool:
    """Is it only worth counting? A state that is still open is worth more."""
    open_state = bool(event.state) and not event.over
    return event.severity is Severity.INFO and not event.why and not open_state


def _name(event: Event) -> str:
    return event.fault.fault_id + (" (injected)" if event.fault.injected else "")


def _where(device: Device) -> str:
    return " ".join(part for part in (device.node, device.name or "node") if part)


def _times(count: int) -> str:
    return f" x{count}" if count > 1 else ""


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name}{_times(count)}" for name, count in counts.most_common())


def _beside(event: Event, device: Device) -> str:
    return ", ".join(
        f"{fault_id}{_times(count)}{f' of {name}' if name not in ('', device.name) else ''}"
        for (fault_id, name), count in event.beside.most_common()
    )


def _span(event: Event) -> str:
    lines = f"line {event.first}" if event.first == event.last else (
        f"lines {event.first} to {event.last}"
    )  # fmt: skip
    first, last = _time(event.first_ns), _time(event.last_ns)
    if not first:
        return lines
    return f"{lines}, {first}" + (f" to {last}" if last and last != first else "")


def _time(time_ns: int) -> str:
    try:
        return rfc3339(time_ns) if time_ns else ""
    except (ValueError, OverflowError, OSError):
        return ""  # a time beyond the year 9999
