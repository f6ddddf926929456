"""Part 0: which card, which software, how fast copies and launches are."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

from on_gpu.rows import Part

QUERY = "name,driver_version,clocks.sm,clocks.max.sm,power.draw,power.limit,temperature.gpu,memory.total"


def smi() -> dict[str, str]:
    """Return what nvidia-smi says now."""
    if not shutil.which("nvidia-smi"):
        return {}
    text = subprocess.run(
        ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
    ).stdout
    return dict(zip(QUERY.split(","), (value.strip() for value in text.split(",")), strict=False))


def machine() -> dict[str, Any]:
    import numpy
    import timm
    import torchvision

    quota = Path("/sys/fs/cgroup/cpu.max")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "numpy": numpy.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cores": len(os.sched_getaffinity(0)),
        "quota": quota.read_text().strip() if quota.exists() else "",
        "shm_gb": round(shutil.disk_usage("/dev/shm").free / 1e9, 1),
        "tf32_by_default": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
        **smi(),
    }


def run(part: Part) -> None:
    part.row("machine", machine)
    device, n_bytes = part.device, (1 << 22) if part.is_small else (1 << 29)

    def copies() -> dict[str, Any]:
        pageable, there = torch.ones(n_bytes, dtype=torch.uint8), torch.ones(n_bytes, dtype=torch.uint8, device=device)
        pinned = pageable.pin_memory() if device.type == "cuda" else pageable.clone()
        sides = {
            "up_pinned": lambda: there.copy_(pinned, non_blocking=True),
            "up_pageable": lambda: there.copy_(pageable),
            "down_pinned": lambda: pinned.copy_(there, non_blocking=True),
            "down_pageable": lambda: pageable.copy_(there),
            "on_device": lambda: there.clone(),
        }
        found = part.in_turn(sides, n=10, rounds=3, warm=1, seconds=0.5)
        return {f"{name}_gb_s": n_bytes / values["s"] / 1e9 for name, values in found.items()}

    def launches() -> dict[str, Any]:
        x = torch.ones(16, device=device)

        def many() -> None:
            for _ in range(1000):
                x.add_(1)

        return {"launch_us": 1e3 * part.in_turn({"add": many}, n=5)["add"]["s"]}

    def products() -> dict[str, Any]:
        from virb.system import devices

        n, found = 512 if part.is_small else 8192, {}
        for name in ("fp32", "tf32", "bf16"):
            with devices.tf32(name == "tf32"):
                a = torch.randn(n, n, device=device, dtype=devices.torch_dtype(name))
                found[f"{name}_tflops"] = 2e-12 * n**3 / part.in_turn({"x": lambda a=a: a @ a}, n=20)["x"]["s"]
        return {**found, **smi()}

    part.row("copies", copies)
    part.row("launches", launches)
    part.row("matrix products", products)
