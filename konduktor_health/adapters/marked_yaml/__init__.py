"""YAML files that a site writes: their values, where each stands, and what is wrong with them."""

from konduktor_health.adapters.marked_yaml.complaints import Complaints
from konduktor_health.adapters.marked_yaml.content import read_content, summary
from konduktor_health.adapters.marked_yaml.marked import SIZE_LIMIT, Marked, Path, read_marked
from konduktor_health.adapters.marked_yaml.problem import (
    MOST_PROBLEMS,
    Malformed,
    Problem,
    most,
    shown,
)

__all__ = [
    "MOST_PROBLEMS",
    "SIZE_LIMIT",
    "Complaints",
    "Malformed",
    "Marked",
    "Path",
    "Problem",
    "most",
    "read_content",
    "read_marked",
    "shown",
    "summary",
]
