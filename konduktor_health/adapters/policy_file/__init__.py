"""The policy file of a site: YAML and CEL to a ``model.Policy``, with every problem's place."""

from konduktor_health.adapters.policy_file.file import (
    Judged,
    Reader,
    judge_cases,
    read_content,
    read_policy,
    reader_for,
    summary,
)

__all__ = [
    "Judged",
    "Reader",
    "judge_cases",
    "read_content",
    "read_policy",
    "reader_for",
    "summary",
]
