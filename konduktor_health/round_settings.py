"""Which settings do tests in pairs have? A group of ``probes`` (``setting_groups``)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from konduktor_health.selector import SelectorError, parse_selector


class RoundSettings(BaseModel):
    """Tests in pairs: nodes measure what lies between them, and the controller says who is to
    blame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interval_s: float = Field(
        3600.0,
        ge=0,
        description=(
            "Seconds between two rounds of ping, in which each node meets one other; what fails is"
            " followed up at once. 0: no pings in pairs."
        ),
    )
    confirm_s: float = Field(
        90.0,
        ge=0,
        le=1200,
        description=(
            "A node is accused once it fails again so long after it was first suspected, seconds:"
            " by then one that reboots is NotReady."
        ),
    )
    at_once: int = Field(64, ge=1, le=1024, description="Pairs that ping each other at once.")
    shape: Literal["random", "ring"] = Field(
        "random",
        description="How pairs are chosen; ring: first neighbours by domain and name.",
    )
    nodes: str = Field(
        "", description="Label selector of the nodes that take part; empty: all managed nodes."
    )
    bandwidth_interval_s: float = Field(
        0.0,
        ge=0,
        description=(
            "Seconds between two rounds of iperf3, which load the network; 0: none. A pair that"
            " does not answer ping is not measured so."
        ),
    )
    bandwidth_seconds: int = Field(5, ge=1, le=60, description="How long a pair sends, seconds.")
    bandwidth_streams: int = Field(1, ge=1, le=64, description="TCP streams of a pair.")
    bandwidth_gbps: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description=(
            "Asked for in the slower direction, Gb/s; 0: half of what the pairs of a round reach."
        ),
    )
    bandwidth_at_once: int = Field(4, ge=1, le=256, description="Pairs that send at once.")
    nccl_interval_s: float = Field(
        0.0,
        ge=0,
        description=(
            "Seconds between two rounds of NCCL all-reduce over two idle nodes; 0: none. Agents"
            " need mpirun, nccl-tests and a way to start programs on the partner."
        ),
    )
    nccl_at_once: int = Field(1, ge=1, le=64, description="Pairs that reduce at once.")

    @field_validator("nodes")
    @classmethod
    def _is_selector(cls, value: str) -> str:
        try:
            parse_selector(value)
        except SelectorError as error:
            raise ValueError(f"a label selector is expected: {error}") from error
        return value
