"""Which faults are there? Read from the catalog; lines that decide are decoded by the parsers."""

from __future__ import annotations

from collections.abc import Iterator

from docs.pages.tables import code, table
from parsers import catalog, sxid, xid
from parsers.catalog import Entry
from parsers.catalog.read import words

_FAULTS_TEXT = """
# Faults

Which codes the catalog knows, how bad each is, and what would repair it.
[Severity](../concepts/severity.md) says what the words mean and where they come from. Only
`fatal` asks for the taint; everything else is shown.

`konduktor-health explain xid 79` prints an entry whole: what to look at, what it is related to,
sources, and lines that are it or are not. [Decoding](../design/decoding.md) says how a line is
matched and why.

A code that is not in these tables gives a fault of severity `unknown`: visible, never acting.
The driver's own word in a line outranks the table (next section).

## Where the line decides

"""
_DECISIVE = (
    ("xid", "74, NVLink: fatal error detected on link 14"),
    ("xid", "74, NVLink: non-fatal error detected on link 14"),
    (
        "xid",
        "74, NVLink: fatal error detected on link 14(0x40000001, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)",
    ),
    ("xid", "149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01"),
    ("xid", "149, NETIR_LINK_EVT  Nonfatal   XC0 i0 Link 01"),
    (
        "xid",
        "145, RLW_RSPCOL Nonfatal XC0 i0 Link 00 (0x00000005 0x00000001 0x00000000 0x00000000)",
    ),
    (
        "xid",
        "145, RLW_RSPCOL Nonfatal XC0 i0 Link 00 (0x00000005 0x00000002 0x00000000 0x00000000)",
    ),
    ("xid", "154, GPU recovery action"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x9 (Something new)"),
    ("xid", "160, Marking LTS 5 in FPB 1 along with its pair for repair. Perform GPU reset to"),
    ("xid", "160, Marking LTS 5 in FPB 1 along with its pair for repair. Perform node reboot to"),
    ("sxid", "20034, Fatal, Link 30 LTSSM Fault Up"),
    ("sxid", "20034, Non-fatal, Link 30 LTSSM Fault Up"),
    ("sxid", "20034, Correctable, Link 30 LTSSM Fault Up"),
)
_LINE_TEXT = """
Of an SXid, `Fatal` is always fatal, with remedy `reboot` where the table says so and else
`reset_gpu`; `Non-fatal` goes by the column `non-fatal`.
"""
_NVLINK5_TEXT = """
## Xid 144 to 150: units

The rules of the printed unit apply when its number is in the intrinfo (the first word): in bits 9
to 0 (layout 1) or 6 to 0 (layout 2). `bits`: of the second word each bit; `value`: the whole
second word; `reason`: bits 25 to 20 of the intrinfo. No rule, or a cut line: the word decides.
`promoted`: what the rule asks for when bit 10 (layout 1) or bit 7 (layout 2) is set.

"""

_LOST_TEXT = """
## GPU lost without an Xid

"""
_CONTROLLER_TEXT = """
## Found by the controller

No line says these. [Observation](../design/observation.md#reboots) says when a reboot is one.

"""
_RULES_TEXT = """
## Other kernel messages

The controller records what is worse than `info` and accuses the node; `scan` tells all.
`accuses`: whom the line accuses; `peer` is the one that it names. A row with a doubt is in
observation: recorded and shown, never the reason for a taint, unless
[`policy.observe`](settings.md) says otherwise. `(program)`: a program prints it, so that it never
acts.

"""
_PODS_TEXT = """
## Pods' lines

They never act, whomever they accuse.

"""
_NOISE_TEXT = """
## Noise

Lines that look bad and say nothing: they give no fault.

"""
_RULE_HEAD = ("fault id", "severity", "remedy", "accuses", "meaning", "look at", "doubt")


def faults_page() -> str:
    """The catalog, one row a code, and the rules that outrank it."""
    decisive = [(code(f"{kind}: {line}"), *_decoded(kind, line)) for kind, line in _DECISIVE]
    head = ("code", "mnemonic", "meaning", "class", "concerns", "severity", "remedy")
    return (
        _FAULTS_TEXT.lstrip()
        + table(("after the address", "severity", "remedy"), decisive)
        + _LINE_TEXT
        + "\n## Classes\n\nSeverity and remedy of a code, unless its row says otherwise.\n\n"
        + table(("class", "severity", "remedy", "first action"), _classes())
        + _LOST_TEXT
        + table(
            ("fault id", "when", "severity", "remedy"),
            (
                (code(each.fault_id), each.meaning, each.severity.value, each.remedy.value)
                for each in catalog.others().values()
            ),
        )
        + _CONTROLLER_TEXT
        + table(
            ("fault id", "when", "severity", "remedy"),
            (
                (code(each.fault_id), each.meaning, each.severity.value, each.remedy.value)
                for each in catalog.controller().values()
            ),
        )
        + _RULES_TEXT
        + table(_RULE_HEAD, (_rule_row(each) for each in _ruled("kernel/") if not each.noise))
        + _PODS_TEXT
        + table(_RULE_HEAD, (_rule_row(each) for each in _ruled("workload/") if not each.noise))
        + _NOISE_TEXT
        + table(
            ("fault id", "meaning", "why it is noise"),
            (
                (code(each.fault_id), each.meaning, each.noise)
                for each in catalog.uncoded().values()
                if each.noise
            ),
        )
        + "\n## Xid 154: directives\n\nThe new value counts. A cut line orders nothing.\n\n"
        + table(("value", "text", "severity", "remedy", "means"), _directives())
        + "\n## Xid 74: registers\n\nRegisters from 1, bits from 0, the worst first. Where only"
        + " harmless bits are set there is nothing to do; otherwise the word decides.\n\n"
        + table(("asks for", "bits", "remedy where the word is fatal"), _registers())
        + _NVLINK5_TEXT
        + table(("Xid", "unit", "layout 1", "layout 2", "by", "rules"), _units())
        + "\n## Relations\n\n"
        + table(("fault id", "relation", "with"), _relations())
        + "\n## Xid\n\nFault id `xid/CODE`. `NVIDIA`: its buckets, immediate and then for the"
        + " investigation.\n\n"
        + table((*head, "NVIDIA"), (_xid_row(entry) for entry in catalog.xids().values()))
        + "\n## SXid\n\nFault id `sxid/CODE`. Column `non-fatal`: the severity where the line"
        + " prints Non-fatal. `guide`: the class in the fabric manager guide. `driver`: the words"
        + " that the driver may print.\n\n"
        + table(
            (*head, "non-fatal", "guide", "driver"),
            (_switch_row(entry) for entry in catalog.sxids().values()),
        )
    )


def _decoded(kind: str, line: str) -> tuple[str, str]:
    if kind == "xid":
        fault = xid.parse(f"NVRM: Xid (PCI:0000:3b:00): {line}", catalog.xids())
    else:
        head = "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0)"
        switch = sxid.parse(f"{head}: {line}", catalog.sxids())
        fault = switch.fault if switch else None
    if fault is None:
        raise ValueError(f"no fault in {line!r}")
    return fault.severity.value, fault.remedy.value


def _classes() -> Iterator[tuple[str, ...]]:
    for each in words().classes.values():
        yield code(each.name), each.severity.value, each.remedy.value, each.action


def _directives() -> Iterator[tuple[str, ...]]:
    for each in catalog.directives().values():
        yield str(each.value), each.text, each.severity.value, each.remedy.value, each.meaning


def _registers() -> Iterator[tuple[str, ...]]:
    every = [bit for register in catalog.registers().values() for bit in register]
    for rank in sorted({bit.rank for bit in every}):
        bits = sorted((b for b in every if b.rank == rank), key=lambda b: (b.register, b.bit))
        asks = bits[0].asks + (" (harmless)" if bits[0].harmless else "")
        named = ", ".join(f"{bit.register}.{bit.bit}" for bit in bits)
        yield asks, named, "" if bits[0].harmless else bits[0].remedy.value


def _units() -> Iterator[tuple[str, ...]]:
    for unit in catalog.nvlink_rules():
        told: dict[str, list[str]] = {}
        for rule in unit.rules:
            shown = "any" if rule.match is None else f"{rule.match:#x}"
            if unit.by == "reason":
                shown = f"{rule.match:06b}"
            action = rule.action.name + (
                f", promoted {rule.promoted.name}" if rule.promoted else ""
            )
            told.setdefault(f"{action} ({rule.look})", []).append(shown)
        rules = "; ".join(f"{', '.join(found)}: {asks}" for asks, found in told.items())
        yield str(unit.xid), unit.title, f"{unit.v1:#05x}", f"{unit.v2:#04x}", unit.by, rules


def _relations() -> Iterator[tuple[str, ...]]:
    every = [*catalog.xids().values(), *catalog.sxids().values(), *catalog.uncoded().values()]
    for entry in every:
        found: dict[str, list[str]] = {}
        for each in catalog.relations(entry.fault_id):
            found.setdefault(each.kind.replace("_", " "), []).append(code(each.fault_id))
        for kind, others in found.items():
            yield code(entry.fault_id), kind, ", ".join(others)


def _ruled(prefix: str) -> Iterator[Entry]:
    for entry in catalog.uncoded().values():
        if entry.fault_id.startswith(prefix) and entry.accuses:
            yield entry


def _rule_row(entry: Entry) -> tuple[str, ...]:
    by = " (program)" if entry.by_program else ""
    return (
        code(entry.fault_id),
        entry.severity.value,
        entry.remedy.value,
        entry.accuses + by,
        entry.meaning,
        entry.investigation,
        entry.observe,
    )


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry.code),
        entry.mnemonic,
        entry.meaning,
        entry.fault_class,
        entry.scope,
        entry.severity.value,
        entry.remedy.value,
    )


def _xid_row(entry: Entry) -> tuple[str, ...]:
    return (*_row(entry), ", ".join(dict.fromkeys(entry.vendor)))


def _switch_row(entry: Entry) -> tuple[str, ...]:
    said = (
        ", ".join(entry.prints) if entry.prints else "no word" if entry.examples else "not printed"
    )
    return (*_row(entry), entry.nonfatal.value, entry.guide, said)
