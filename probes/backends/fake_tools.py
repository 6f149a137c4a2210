"""What would tools print on a node with fake GPUs? Their real formats, from the backend's state.

So a fault that is injected into a fake GPU goes the whole way: tool output, parser, judgement,
finding. Programs that it does not know are asked of the real tool.

Invariant: only ``tool_for`` chooses it, and only for a fake backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from probes.backends import fake_cuda, fake_dcgmi
from probes.backends.base import Gpu, GpuBackend
from probes.backends.fake import FakeBackend
from probes.check import Tool, ToolOutput
from probes.errors import BackendError, BackendMissing

_NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that "
    "the latest NVIDIA driver is installed and running.\n\n"
)


def tool_for(backend: GpuBackend, real: Tool) -> Tool:
    """The tool that fits the backend: the real one, but for a fake backend."""
    return FakeTool(backend, real) if isinstance(backend, FakeBackend) else real


class FakeTool:
    """Answers as dcgmi, nvidia-smi, nccl-tests and our CUDA programs would."""

    def __init__(self, backend: FakeBackend, real: Tool) -> None:
        self._backend = backend
        self._real = real
        self._programs: Mapping[str, Callable[[FakeBackend, tuple[str, ...]], ToolOutput]] = {
            "nvidia-smi": _nvidia_smi,
            "dcgmi": fake_dcgmi.answer,
            "bandwidth": fake_cuda.bandwidth,
            "gpucheck": fake_cuda.gpucheck,
            "memtest": fake_cuda.memtest,
            "all_reduce_perf": _all_reduce,
        }

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        """As ``probes.check.Tool``."""
        program = self._programs.get(arguments[0].rsplit("/", 1)[-1])
        if program is None:
            return self._real(arguments, deadline_s=deadline_s, input_text=input_text)
        return program(self._backend, arguments[1:])


def _nvidia_smi(backend: FakeBackend, arguments: tuple[str, ...]) -> ToolOutput:
    del arguments
    try:
        version, gpus, lost = backend.driver().version, backend.gpus(), backend.unopened()
    except BackendMissing:
        return ToolOutput(9, _NO_DRIVER, "")
    head = "\n==============NVSMI LOG==============\n\n" + "".join(
        _line(0, name, value)
        for name, value in (
            ("Driver Version", version),
            ("CUDA Version", "13.0"),
            ("Attached GPUs", str(len(gpus))),
        )
    )
    opened = {gpu.device for gpu in gpus}
    unseen = [each.device for each in backend.pci_gpus() if each.device not in opened]
    lines = [
        f"Unable to determine the device handle for GPU{gpu.index}: {_address(device)}: "
        f"{gpu.reason}\n"
        for gpu, device in zip(lost, unseen, strict=False)
    ]
    text = "".join(lines) + head + "".join(_smi_gpu(backend, gpu) for gpu in gpus)
    return ToolOutput(255 if lost else 0, text, "")


def _smi_gpu(backend: FakeBackend, gpu: Gpu) -> str:
    def read(value: Callable[[], object]) -> str:
        try:
            found = value()
        except BackendError:
            return "GPU requires reset"
        return "N/A" if found is None else str(found)

    def rows(what: str) -> Callable[[], object]:
        def value() -> object:
            found = backend.remapped_rows(gpu)
            if found is None:
                return None
            told = getattr(found, what)
            return ("Yes" if told else "No") if isinstance(told, bool) else told

        return value

    return "".join(
        [
            f"GPU {_address(gpu.device)}\n",
            _line(4, "Product Name", gpu.name),
            _line(4, "Serial Number", gpu.serial),
            _line(4, "GPU UUID", gpu.uuid),
            "    Remapped Rows\n",
            _line(8, "Correctable Error", read(rows("corrected"))),
            _line(8, "Uncorrectable Error", read(rows("uncorrected"))),
            _line(8, "Pending", read(rows("pending"))),
            _line(8, "Remapping Failure Occurred", read(rows("failed"))),
            "    Temperature\n",
            _line(8, "GPU Current Temp", read(lambda: f"{backend.temperatures(gpu).gpu_c} C")),
            "    GPU Power Readings\n",
            _line(8, "Average Power Draw", read(lambda: f"{backend.power(gpu).draw_w} W")),
            _line(4, "Processes", "None"),
        ]
    )


def _address(device: str) -> str:
    return f"0000{device.upper()}.0"


def _line(indent: int, name: str, value: str) -> str:
    return f"{' ' * indent}{name:<{55 - indent}}: {value}\n"


def _all_reduce(backend: FakeBackend, arguments: tuple[str, ...]) -> ToolOutput:
    del arguments
    gpus = backend.gpus()
    busbw = min(backend.measured("nccl-node/busbw", gpu) for gpu in gpus)
    wrong = sum(int(backend.measured("nccl-node/wrong", gpu)) for gpu in gpus)
    factor = 2 * (len(gpus) - 1) / len(gpus)
    lines = [
        "# Collective test starting: all_reduce_perf",
        f"# nThread 1 nGpus {len(gpus)} minBytes 536870912 maxBytes 8589934592 validation: 1",
        "#",
        "# Using devices",
        *(
            f"#  Rank {gpu.index:2} Group  0 Pid      1 on       fake device {gpu.index:2} "
            f"[{gpu.device}] {gpu.name}"
            for gpu in gpus
        ),
        "#",
    ]
    sizes = (2**29, 2**31, 2**33)
    for size in sizes:
        figures = f"{size / busbw / 1e3 * factor:10.1f} {busbw / factor:7.2f} {busbw:7.2f}"
        row = f"{size:12} {size // 4:12}     float     sum      -1"
        lines.append(f"{row} {figures} {wrong * (size == sizes[-1]):6} {figures} {0:6}")
    lines += [
        f"# Out of bounds values : {wrong} {'FAILED' if wrong else 'OK'}",
        f"# Avg bus bandwidth    : {busbw:.4f} ",
        "#",
        "# Collective test concluded: all_reduce_perf",
    ]
    return ToolOutput(1 if wrong else 0, "\n".join(lines) + "\n", "")
