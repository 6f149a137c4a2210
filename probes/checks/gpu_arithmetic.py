"""Does each GPU compute right, and how fast? DAXPY and DGEMM, each iteration verified.

``gpucheck`` compares every element of every iteration with its exact value: a GPU that is wrong
without a word in any log (silent data corruption) is found, and is fatal whatever its speed. Slow
ones are degraded. The double precision of the own kernel is a part of the peak; with cuBLAS on the
node it is near it, and limits are published for that alone. So they are two measurements: `dgemm`
is of cuBLAS, `dgemm_own` of the own kernel, which is judged by what this GPU and its siblings
reached before, and by no published limit.

Source of the rule: IBM/autopilot, ``gpucheck.cu`` (daxpy 1300 GB/s, dgemm 16 TFLOPS, both A100).
"""

from __future__ import annotations

from probes.check import Cadence, CheckSpec, Tier
from probes.measuring.rates import Rate, RateCheck, by_kernel, result_of

_TERA_OF_GIGA = 0.001

CHECK = RateCheck(
    spec=CheckSpec(
        name="gpu-arithmetic",
        title="Does each GPU compute right, and as fast as its model?",
        tier=Tier.INVASIVE,
        cadence=Cadence.INVASIVE,
        deadline_s=300.0,
        needs_idle_gpus=True,
    ),
    program="gpucheck",
    arguments=("--seconds", "40", "--grace", "20"),
    rates=(
        Rate("daxpy", "GB/s", result_of("daxpy")),
        Rate(
            "dgemm",
            "TFLOPS",
            result_of("dgemm", _TERA_OF_GIGA),
            by_kernel("dgemm", "cublas", ""),
        ),
        Rate(
            "dgemm_own",
            "TFLOPS",
            result_of("dgemm", _TERA_OF_GIGA),
            by_kernel("dgemm", "own"),
        ),
    ),
    told=("sgemm", "tf32", "fp16"),
    verified=True,
)
