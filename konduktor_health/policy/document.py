"""Which form has a policy file? Every key with its meaning; docs/reference/policy.md is made of it.

A model checks what can be seen in one value. What needs the fault tables, other parts of the file
or CEL is checked where it is compiled (``policy.compiling``).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from konduktor_health.policy.values import (
    Count,
    Duration,
    Forever,
    Glob,
    LabelKey,
    Name,
    Percent,
    Probe,
    Selection,
    Text,
    Time,
)
from konduktor_health.treatment import Asked, Effect, Mode
from konduktor_health.words import Corroborate
from parsers.fault import Remedy, Severity, Trust

VERSION = 1
RULES_LIMIT = 200
POOLS_LIMIT = 100


class PresetName(Enum):
    """Presets; ``none`` is a file that says everything itself."""

    DEFAULT = "default"
    CONSERVATIVE = "conservative"
    STRICT = "strict"
    KONDUKTOR = "konduktor-compatible"
    NAVARCH = "navarch-compatible"
    NONE = "none"


class HeldEffect(Enum):
    """What keeps no pod out: more would be a taint that the budget does not count."""

    NONE = "none"
    LABEL = "label"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"


class Part(BaseModel):
    """A part of the file: unknown keys are refused, nothing can be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MatchPart(Part):
    """What a rule is about. All that is named must hold; what is left out matches everything."""

    faults: tuple[Glob, ...] | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Fault ids, with `*` and `?` as wildcards; one of them.",
    )
    severity: tuple[Severity, ...] | None = Field(
        None, min_length=1, description="One of these severities."
    )
    remedy: tuple[Remedy, ...] | None = Field(
        None, min_length=1, description="One of these remedies."
    )
    device: tuple[Glob, ...] | None = Field(
        None,
        min_length=1,
        max_length=200,
        description='Addresses of devices, with wildcards; `""` is the node itself.',
    )
    trust: tuple[Trust, ...] | None = Field(
        None, min_length=1, description="One of these trust classes of the evidence."
    )
    nodes: Selection | None = Field(None, description="Label selector of the Node.")
    when: Text | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Condition in CEL, at most 1,000 characters.",
    )


class RepeatPart(Part):
    """How often a fault has to be seen before it acts."""

    count: StrictInt = Field(ge=2, le=1000, description="Episodes that are needed.")
    within: Duration = Field(gt=0, le=30 * 86_400, description="Within this time; at most 30d.")
    other_owner: StrictBool = Field(
        False, description="Episodes of the same process or pod count once, however far apart."
    )


class ProbePart(Part):
    """A probe that must have passed."""

    name: Probe = Field(
        description=(
            "A tier (boot, light, invasive), the name of a check, or `found-by`: the check that"
            " found the fault, in rules for `probe/` faults."
        )
    )
    times: StrictInt = Field(1, ge=1, le=100, description="So many times in a row.")
    under_load: StrictBool = Field(False, description="Only passes under load count.")


class ClearPart(Part):
    """What ends a record: all of it, after the last occurrence and in the current boot."""

    repair: Asked = Field(
        Asked.REMEDY,
        description=(
            "A repair that was seen: what the fault's own remedy says, a boot, any, or nothing."
        ),
    )
    probes: tuple[ProbePart, ...] = Field(
        (), max_length=20, description="Probes that must have passed on the device."
    )
    quiet: Duration = Field(600.0, description="Observed so long without the fault.")
    operator: StrictBool = Field(
        False, description="Only a person clears it (`release` or `reset`)."
    )
    log_only: StrictBool = Field(
        False, description="Where no agent runs, the probes are not asked for."
    )


class RulePart(Part):
    """A rule. The first that matches a fault decides; rules of the preset come after the file's."""

    name: Name = Field(description="Unique; it is told with everything that the rule does.")
    match: MatchPart = Field(MatchPart(), description="What it is about; left out: everything.")
    mode: Mode = Field(description="`observe`: recorded and shown; `act`: may be why of a taint.")
    effect: Effect = Field(
        Effect.NO_SCHEDULE,
        description="What an acting fault does to its node; `label`: the health label only.",
    )
    repeat: RepeatPart | None = Field(None, description="Act only when it was seen so often.")
    clear: ClearPart | None = Field(
        None,
        description=(
            "What ends the record. Left out: the remedy was seen, tier boot once, tier light three"
            " times and tier invasive once have passed, and 10m were quiet."
        ),
    )
    decay: Forever | None = Field(
        None,
        description=(
            "A record that does not act goes after so long, observed; `never`: after 7 days."
            " Left out: `1d` with mode observe, else `never`."
        ),
    )
    verify: tuple[Probe, ...] = Field(
        (), max_length=20, description="Probes to ask for while the record is open."
    )
    ladder: tuple[Remedy, ...] = Field(
        (), max_length=10, description="Repairs in order; left out: the fault's own remedy."
    )


class PoolPart(Part):
    """Nodes that share a budget. The first pool that takes a node has it."""

    name: Name = Field(description="Unique, and not `default`: that has what no other takes.")
    nodes: Selection | None = Field(None, description="Label selector of its nodes.")
    label: LabelKey | None = Field(
        None, description="Each value of this label is a pool of its own, NAME/VALUE."
    )
    percent: Percent | None = Field(
        None, description="Share of its nodes that may be tainted; left out: that of `budget`."
    )
    max_nodes: Count | None = Field(None, description="Most nodes; left out: that of `budget`.")
    rate_per_minute: StrictInt | None = Field(
        None,
        ge=0,
        le=100_000,
        description="New taints a minute, 0: no limit; left out: as `budget`.",
    )
    count_unready: StrictBool = Field(
        False, description="Nodes that are not Ready take from the budget too."
    )
    count_cordoned: StrictBool = Field(
        False, description="Nodes that others have cordoned take from the budget too."
    )


class BudgetPart(Part):
    """The budget of the pool `default`. What is left out is as in the settings."""

    enabled: StrictBool | None = Field(None, description="Limit how many nodes may be tainted.")
    percent: Percent | None = Field(None, description="Share of the nodes, rounded up.")
    max_nodes: Count | None = Field(None, description="Most nodes tainted at a time.")
    rate_per_minute: StrictInt | None = Field(
        None, ge=0, le=100_000, description="New taints a minute; 0: no limit."
    )


class SurgePart(Part):
    """When one fault on many nodes is a common cause. What is left out is as in the settings."""

    enabled: StrictBool | None = Field(None, description="Hold at all.")
    min_nodes: Count | None = Field(None, description="A surge is at least this many nodes,")
    percent: Percent | None = Field(None, description="and at least this share of them,")
    window: Duration | None = Field(None, gt=0, description="within this time.")
    quiet: Duration | None = Field(None, description="It is over after so long without a node.")


class WindowPart(Part):
    """A declared maintenance window."""

    name: Name = Field(description="Unique; it is told with the hold.")
    start: Time = Field(description="When it begins, RFC 3339.")
    end: Time = Field(description="When it is over, RFC 3339.")
    nodes: Selection | None = Field(None, description="Label selector; left out: all nodes.")


class PausesPart(Part):
    """When a node is left alone, outside the budget. What is left out is as without a file."""

    start_up: Duration | None = Field(None, description="After the Node object was made.")
    after_boot: Duration | None = Field(None, description="After a new boot was noticed.")
    driver_upgrade_label: LabelKey | None = Field(
        None, description="Label that tells the state of a driver upgrade."
    )
    driver_idle: tuple[Text, ...] | None = Field(
        None, max_length=50, description="Its values that mean: nobody is at work."
    )
    deletion_taints: tuple[LabelKey, ...] | None = Field(
        None, max_length=50, description="Taint keys of an autoscaler that removes a node."
    )
    foreign_cordon: StrictBool | None = Field(
        None, description="Leave a node alone that somebody cordoned."
    )
    windows: tuple[WindowPart, ...] | None = Field(
        None, max_length=200, description="Declared maintenance windows."
    )


class UnobservedPart(Part):
    """When a node counts as not observed. What is left out is as without a file."""

    after: Duration | None = Field(
        None, gt=0, description="After so long without a line and a heartbeat."
    )
    percent: Percent | None = Field(
        None, description="Told on the Nodes while it is at most this share of a pool."
    )


class CasePart(Part):
    """A fault, and what the policy must do about it. `policy test` plays it."""

    fault: Text = Field(min_length=1, max_length=100, description="Fault id.")
    severity: Severity | None = Field(None, description="Left out: that of the fault tables.")
    remedy: Remedy | None = Field(None, description="Left out: that of the fault tables.")
    device: Text = Field("", max_length=100, description="Address of the device.")
    trust: Trust = Field(Trust.KERNEL, description="Trust class of the evidence.")
    injected: StrictBool = Field(False, description="A program wrote the line.")
    labels: dict[Text, Text] = Field({}, max_length=100, description="Labels of the Node.")
    rule: Text | None = Field(None, description="Expected: name of the rule that decides.")
    mode: Mode | None = Field(None, description="Expected mode.")
    effect: Effect | None = Field(None, description="Expected effect.")


class CasesDocument(Part):
    """A file of cases, for `policy test --cases`."""

    version: Literal[1] = Field(description="Form of the file.")
    tests: tuple[CasePart, ...] = Field(max_length=2000, description="The cases.")


class PolicyDocument(Part):
    """The whole file."""

    version: Literal[1] = Field(description="Form of the file.")
    preset: PresetName = Field(
        PresetName.DEFAULT, description="Rules that come after those of the file, and limits."
    )
    rules: tuple[RulePart, ...] = Field((), max_length=RULES_LIMIT, description="Rules in order.")
    pools: tuple[PoolPart, ...] | None = Field(
        None, max_length=POOLS_LIMIT, description="Pools with a budget of their own, in order."
    )
    budget: BudgetPart = Field(BudgetPart(), description="Budget of the pool `default`.")
    surge: SurgePart = Field(SurgePart(), description="Faults on many nodes at once.")
    held_effect: HeldEffect | None = Field(
        None,
        description="What a fatal node gets that the budget holds; it is no way round the budget.",
    )
    pauses: PausesPart = Field(PausesPart(), description="When a node is left alone.")
    domains: tuple[LabelKey, ...] | None = Field(
        None,
        max_length=50,
        description="Labels whose nodes share a fabric, a rack or a switch.",
    )
    autopilot_labels: StrictBool | None = Field(
        None,
        description=(
            "Write Autopilot's labels: `autopilot.ibm.com/gpuhealth` beside our own, and what DCGM"
            " found. Not beside Autopilot itself."
        ),
    )
    corroborate: Corroborate | None = Field(
        None,
        description=(
            "What a kernel line needs from the node's agent: nothing (`off`), that it is not denied"
            " (`prefer`), that it is confirmed (`require`). Left out: as in the settings."
        ),
    )
    history: Duration | None = Field(None, description="What was cleared is remembered so long.")
    hold_down_max: Duration | None = Field(
        None, description="The longest quiet time that a fault which returns is made to wait."
    )
    unobserved: UnobservedPart = Field(UnobservedPart(), description="Nodes without data.")
    tests: tuple[CasePart, ...] = Field(
        (), max_length=2000, description="Cases for `policy test`; the controller ignores them."
    )


def said(part: Part) -> dict[str, Any]:
    """What the file says itself in this part, left-out fields apart."""
    return {name: getattr(part, name) for name in part.model_fields_set}
