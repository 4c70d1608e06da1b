"""How a graph is run: ONNX Runtime sessions and execution providers."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.errors import DeviceUnavailable, FileCorrupt

Device = Literal["auto", "cpu", "cuda", "tensorrt"]

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container how many microseconds of a period it may use, or `max`, and the period."""

_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


def choose_providers(device: Device) -> list[str]:
    """Execution providers for a device, best first; `auto` takes CUDA when it is installed.

    Raises:
        DeviceUnavailable: The device's provider is not part of the installed ONNX Runtime.
    """
    installed = ort.get_available_providers()
    if device == "auto":
        device = "cuda" if "CUDAExecutionProvider" in installed else "cpu"
    wanted = _PROVIDERS[device]
    if wanted[0] not in installed:
        raise DeviceUnavailable(
            f"device {device!r} needs ONNX Runtime's {wanted[0]}; installed are {', '.join(installed)}. "
            "Install the gpu extra (pip install 'sightline[gpu]') or choose --device cpu"
        )
    return wanted


def provider_options(provider: str, model: Path) -> dict[str, str]:
    """What a provider is told: TensorRT keeps the engines that it builds, which takes minutes, beside the model.

    Where that folder cannot be written, they are built at each start.
    """
    if provider != "TensorrtExecutionProvider" or not os.access(model, os.W_OK):
        return {}
    engines = str(model / "engines")
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": engines,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": engines,
    }


def usable_cores() -> int:
    """Of this machine, or of the container that this process runs in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
    except OSError:
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


class Session:
    """One graph with one input and one output, run on one device. Thread-safe.

    Args:
        threads: Threads of one run, where it is on CPU; 0 takes one per physical core.
        cores: For all runs at once; those of this machine, or of the container, if None.

    Raises:
        FileCorrupt: ONNX Runtime cannot load the file.
        DeviceUnavailable: The provider is installed but did not start (driver or libraries are missing).
    """

    def __init__(self, file: Path, *, device: Device, threads: int, cores: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that wait for the next run would take the cores from those that decode pictures for it.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        providers = choose_providers(device)
        try:
            told = [provider_options(provider, file.parent) for provider in providers]
            self._session = ort.InferenceSession(str(file), options, providers=providers, provider_options=told)
        except Exception as error:  # onnxruntime raises private pybind classes
            raise FileCorrupt(f"{file} cannot be loaded by ONNX Runtime: {error}") from error
        self.providers: list[str] = self._session.get_providers()
        if device != "auto" and self.providers[0] != providers[0]:
            raise DeviceUnavailable(f"{providers[0]} did not start; see ONNX Runtime's log for the missing library")
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self.on_gpu = self.providers[0] != "CPUExecutionProvider"
        all_cores = cores or usable_cores()
        self.cores = 1 if self.on_gpu else threads or all_cores
        """That one run keeps busy."""
        self.parallel = 1 if self.on_gpu else max(1, all_cores // self.cores)
        """Runs that are best made at once: on CPU as many as its threads leave cores for."""

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run one batch; returns the graph's output as float32."""
        if self.on_gpu:
            return self._run_bound(batch)
        return np.asarray(self._session.run([self._output], {self._input: batch})[0])

    def _run_bound(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """With the output bound to the device, one copy each way is made, and only when it is complete."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, np.ascontiguousarray(batch))
        binding.bind_output(self._output, "cuda")
        self._session.run_with_iobinding(binding)
        return np.asarray(binding.copy_outputs_to_cpu()[0])
