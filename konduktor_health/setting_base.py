"""What is common to all groups of settings? Unknown keys are errors, and values do not change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """One group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)
