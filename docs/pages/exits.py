"""Which exit codes are there? Read from konduktor_health.errors."""

from __future__ import annotations

from collections.abc import Iterator

from docs.pages.tables import code, table
from konduktor_health import errors
from konduktor_health.runtime.shutdown import DEADLINE_S, HUNG_EXIT_CODE

_EXIT_TEXT = """
# Exit codes

Every error is one line on stderr (`error: ...`), most with a second one (`hint: ...`).

## `konduktor-health`

"""
_EXIT_MEANINGS = {
    0: "Done. `run`, and `demo` after its story: ended by SIGTERM or Ctrl-C. "
    "`status`: whatever the verdicts are; with `--watch`: ended by SIGTERM or Ctrl-C.",
    1: "Not all of it could be done. `reset`: a named node does not exist or could not be reset; "
    "the others were. `hold`, `release`, `taint`, `maintenance`: the same, or --selector takes no "
    "node. `status`: a named node does not exist or is not managed; the others were "
    "shown. `explain`: no such node. `uninstall`: not all could be cleared; the rest was. "
    "`policy diff`: the policies differ. `policy test`: a case failed. "
    "`probe`: it could not be done at all (what is 3 or 4 of other commands). "
    "Any command: its output could not be written (closed pipe, full disk).",
    2: "Wrong usage, settings, selector or kubeconfig: mend it and try again. A question that was "
    "answered with no, or could not be asked.",
    3: "Loki or the API server is not available, or (`run --once`) a log source was not read. "
    "Trying again may help. `probe run`, `probe results`: something failed.",
    4: "Refused: credentials, RBAC, namespace or query. Trying again does not help. `probe`: "
    "nothing failed, but something was not measured.",
    5: "Another replica leads: this one has lost the Lease and did nothing since, or "
    "(`run --once`) it did not get the Lease in time. `uninstall`: a controller holds the Lease; "
    "nothing was written.",
}


def exit_codes_page() -> str:
    """The codes and the errors that end with them."""
    by_code: dict[int, list[str]] = {0: []}
    for error in _error_classes(errors.HealthError):
        if error.__module__ == errors.__name__:
            by_code.setdefault(error.exit_code, []).append(error.__name__)
    rows = [
        (str(number), _EXIT_MEANINGS[number], ", ".join(map(code, sorted(names))))
        for number, names in sorted(by_code.items())
    ]
    hung = f"Ended hard: the program was still busy {DEADLINE_S:g} s after SIGTERM or Ctrl-C."
    rows += [
        (str(HUNG_EXIT_CODE), hung, ""),
        ("130", "Ended by Ctrl-C before it was done; `demo`: in its story.", ""),
    ]
    return (
        _EXIT_TEXT.lstrip()
        + table(("code", "meaning", "errors"), rows)
        + "\n`run` without `--once` does not end for an unavailable Loki or API server, or for"
        + " a right that is missing: it is not ready ([HTTP](http.md)) and tries again.\n"
        + "`scan` exits 0 whether it finds faults or not, 2 where not all could be read.\n"
        + "\n## `konduktor-probe`\n\n"
        + table(
            ("code", "meaning"),
            (
                (
                    "0",
                    "Done, or ended by SIGTERM or Ctrl-C. `run`: each result is `pass` or `warn`.",
                ),
                (
                    "1",
                    "It cannot work or write its output; the message says why. `--once`: or push.",
                ),
                ("2", "Wrong usage, or a file of user checks that makes no sense."),
                ("3", "`run`: something failed."),
                (
                    "4",
                    "`run`: nothing failed, but something was not measured: skip, error, timeout.",
                ),
                ("130, 143", "`run`: ended by Ctrl-C, SIGTERM. Nothing of the run counts."),
            ),
        )
    )


def _error_classes(root: type[errors.HealthError]) -> Iterator[type[errors.HealthError]]:
    yield root
    for child in root.__subclasses__():
        yield from _error_classes(child)
