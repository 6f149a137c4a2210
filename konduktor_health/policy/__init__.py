"""What does a site want done about which fault? The policy file: its form, and what it makes.

``document`` is the form (pydantic), ``compiling`` makes it a ``model.Policy``, ``presets`` are
policies to begin with, ``writing`` is the way back, ``comparing`` and ``cases`` look at what comes
out. Pure: files, YAML and CEL are matters of ``adapters.policy_file``.
"""

from konduktor_health.policy.compiling import Finding, compile_policy, preset_policy
from konduktor_health.policy.conditions import CompileCondition, WrittenCondition
from konduktor_health.policy.document import PolicyDocument
from konduktor_health.policy.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "CompileCondition",
    "Finding",
    "PolicyDocument",
    "Preset",
    "WrittenCondition",
    "compile_policy",
    "preset_policy",
]
