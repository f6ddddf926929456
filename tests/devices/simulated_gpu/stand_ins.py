"""What stands in for torch.cuda while the simulated GPU is open."""

from __future__ import annotations

import time
import types
from typing import Any

from simulated_gpu import generators
from simulated_gpu.counters import TOTAL_BYTES, SimulatedGPU, current
from simulated_gpu.generators import CUDA


class Stream:
    """A stream or an event; everything happens at once."""

    device, cuda_stream, at = CUDA, 0, 0.0

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def wait_stream(self, other: Any) -> None: ...
    def __exit__(self, *_: object) -> None: ...

    wait = wait_event = wait_stream

    def synchronize(self, device: Any = None) -> None:
        if current:
            current[0].add("syncs", "synchronize")

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def record_event(self, event: Stream | None = None) -> Stream:
        (event := event or Stream()).record()
        return event

    def elapsed_time(self, other: Stream) -> float:
        return 1000 * (other.at - self.at)

    def query(self) -> bool:
        return True

    def __enter__(self) -> Stream:
        return self


def functions(gpu: SimulatedGPU) -> dict[str, Any]:
    """What is put in the place of torch.cuda's functions."""
    properties = types.SimpleNamespace(
        name="Simulated GPU", major=9, minor=0, total_memory=TOTAL_BYTES, multi_processor_count=132, warp_size=32
    )
    stream = Stream()
    answers = {
        "is_available": True, "device_count": 1, "current_device": 0, "is_initialized": True, "_is_in_bad_fork": False,
        "is_bf16_supported": True, "is_tf32_supported": True, "is_current_stream_capturing": False, "current_stream": stream,
        "default_stream": stream, "get_device_name": properties.name, "get_device_properties": properties,
        "get_device_capability": (9, 0), "initial_seed": 0,
        **dict.fromkeys(["_lazy_init", "init", "set_device", "set_stream", "empty_cache", "ipc_collect", "seed"]),
    }  # fmt: skip
    return {
        **{name: lambda *_, _answer=answer, **__: _answer for name, answer in answers.items()},
        **{name: lambda *_: gpu.live_bytes for name in ("memory_allocated", "memory_reserved")},
        **{name: lambda *_: gpu.peak_bytes for name in ("max_memory_allocated", "max_memory_reserved")},
        "mem_get_info": lambda *_: (TOTAL_BYTES - gpu.live_bytes, TOTAL_BYTES),
        "reset_peak_memory_stats": lambda *_: setattr(gpu, "peak_bytes", gpu.live_bytes),
        "_lazy_call": lambda function, **_: function(), "Stream": Stream, "Event": Stream, "stream": lambda s: s or stream,
        "synchronize": stream.synchronize, "get_rng_state": lambda *_: generators.default().get_state(),
        "set_rng_state": lambda state, *_: generators.default().set_state(state),
        **{name: lambda seed: generators.default().manual_seed(seed) for name in ("manual_seed", "manual_seed_all")},
    }  # fmt: skip
