"""Rules that a site writes itself: one YAML file over the shipped tables."""

from konduktor_health.adapters.marked_yaml.problem import Problem
from konduktor_health.adapters.rules_file.changes import Change
from konduktor_health.adapters.rules_file.file import (
    Judged,
    judge,
    read_content,
    read_rules,
    summary,
)

__all__ = ["Change", "Judged", "Problem", "judge", "read_content", "read_rules", "summary"]
