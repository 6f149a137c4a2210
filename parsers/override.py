"""What does a site hold of a shipped fault, whatever its line says? One override of a rules file.

Invariant: what is unknown because its line is damaged, or could be forged, stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.fault import Fault, Remedy, Severity


@dataclass(frozen=True, slots=True)
class Override:
    """Severity and remedy (None: as they are) and meaning ("": as it is) of one fault id."""

    severity: Severity | None = None
    remedy: Remedy | None = None
    meaning: str = ""

    def judge(self, severity: Severity, remedy: Remedy) -> tuple[Severity, Remedy]:
        """What these become. Info asks for nothing."""
        severity = self.severity or severity
        if severity is Severity.INFO:
            return severity, Remedy.NONE
        return severity, self.remedy or remedy

    def apply(self, fault: Fault) -> None:
        """Change a Fault in place, unless its severity is unknown."""
        if fault.severity is not Severity.UNKNOWN:
            fault.severity, fault.remedy = self.judge(fault.severity, fault.remedy)
