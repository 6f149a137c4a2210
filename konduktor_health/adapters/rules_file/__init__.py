"""Rules that a site writes itself: one YAML file over the shipped tables."""

from konduktor_health.adapters.rules_file.changes import Change
from konduktor_health.adapters.rules_file.file import (
    Judged,
    judge,
    read_content,
    read_rules,
    summary,
)
from konduktor_health.adapters.rules_file.problem import Problem

__all__ = ["Change", "Judged", "Problem", "judge", "read_content", "read_rules", "summary"]
