"""Which faults are there? Read from the catalog; lines that decide are decoded by the parsers."""

from __future__ import annotations

from docs.pages.tables import code, table
from parsers import catalog, sxid, xid
from parsers.catalog import Entry
from parsers.workload import POD_RULES

_FAULTS_TEXT = """
# Faults

Which codes the catalog knows, how bad each is, and what would repair it.
[Severity](../concepts/severity.md) says what the words mean and where they come from. Only
`fatal` asks for the taint; everything else is recorded and shown.

A code that is not in these tables gives a fault of severity `unknown`: visible, never acting.
The driver's own word in a line outranks the table (next section).

## Where the line decides

"""
_DECISIVE = (
    ("xid", "154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x3 (Drain P2P)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX Domain)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x9 (Something new)"),
    ("xid", "74, NVLink: fatal error detected on link 14"),
    ("xid", "74, NVLink: non-fatal error detected on link 14"),
    ("xid", "149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01"),
    ("xid", "149, NETIR_LINK_EVT  Nonfatal   XC0 i0 Link 01"),
    ("xid", "160, row remapping pending, GPU reset required"),
    ("xid", "160, row remapping pending, node reboot required"),
    ("sxid", "20034, Fatal, Link 30 LTSSM Fault Up"),
    ("sxid", "20034, Non-fatal, Link 30 LTSSM Fault Up"),
    ("sxid", "20034, Correctable, Link 30 LTSSM Fault Up"),
)
_OTHER_TEXT = """
Xid 144 to 150 are read as 149 is. Of an SXid, `Fatal` is always fatal, with remedy `reboot`
where the table says so and else `reset_gpu`; `Non-fatal` goes by the column `non-fatal`.

## Faults without a code

"""
_OTHER = (
    (
        "kernel/gpu-lost",
        (
            "A GPU has fallen off the bus, told without an Xid: in one line, or in three records. "
            "Within 30 s after an Xid 79 of the same GPU it is that event and told once. The end "
            "of the three records alone is `unknown` and has no device."
        ),
        "fatal",
        "reboot",
    ),
    (
        "kernel/peermem-invalid-context",
        "nvidia-peermem was told to free memory of a process that is gone; harmless by itself.",
        "info",
        "none",
    ),
)


def faults_page() -> str:
    """The catalog, one row a code, and the rules that outrank it."""
    decisive = [(code(f"{kind}: {line}"), *_decoded(kind, line)) for kind, line in _DECISIVE]
    other = [(code(name), text, how_bad, remedy) for name, text, how_bad, remedy in _OTHER]
    other += [
        (code(rule.fault_id), f"A pod's log says `{rule.literal}`.", "application", "none")
        for rule in POD_RULES
    ]
    head = ("code", "mnemonic", "meaning", "severity", "remedy")
    return (
        _FAULTS_TEXT.lstrip()
        + table(("after the address", "severity", "remedy"), decisive)
        + _OTHER_TEXT
        + table(("fault id", "when", "severity", "remedy"), other)
        + "\n## Xid\n\nFault id `xid/CODE`.\n\n"
        + table(head, (_row(entry) for entry in catalog.xids().values()))
        + "\n## SXid\n\nFault id `sxid/CODE`. Column `non-fatal`: the severity where the line"
        + " prints Non-fatal.\n\n"
        + table((*head, "non-fatal"), (_switch_row(each) for each in catalog.sxids().values()))
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


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry.code),
        entry.mnemonic,
        entry.meaning,
        entry.severity.value,
        entry.remedy.value,
    )


def _switch_row(entry: Entry) -> tuple[str, ...]:
    return (*_row(entry), entry.nonfatal.value)
