"""TF32 is allowed or not as asked, and what was set before comes back."""

from __future__ import annotations

import pytest
import torch

from virb.errors import UsageError
from virb.system import devices


@pytest.mark.parametrize("is_allowed", [True, False])
def test_tf32_holds_in_the_block_and_what_was_set_comes_back(is_allowed):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with devices.tf32(is_allowed):
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (is_allowed,) * 2
        assert devices.precision(torch.device("cuda"), torch.float32) == ("tf32" if is_allowed else "fp32")
        assert devices.precision(torch.device("cpu"), torch.float32) == "fp32"
        assert devices.precision(torch.device("cuda"), torch.bfloat16) == "bf16"
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_devices_that_are_not_there_are_refused():
    assert devices.resolve("cpu") == torch.device("cpu")
    for name in ("cuda:99", "nonsense"):
        with pytest.raises(UsageError, match=f'device="{name}" cannot be used here'):
            devices.resolve(name)
    with pytest.raises(UsageError, match="expected one of fp32, tf32, bf16, fp16"):
        devices.torch_dtype("bf17")


def test_without_a_choice_float32_is_exact_on_a_gpu_and_the_users_setting_comes_back():
    def allowed() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = allowed()
    with devices.fp32_unless_chosen(torch.device("cuda")):
        assert allowed() == (False, False)
    assert allowed() == before
    with devices.tf32(True), devices.fp32_unless_chosen(torch.device("cuda")):
        assert allowed() == (True, True)
    with devices.fp32_unless_chosen(torch.device("cpu")):
        assert allowed() == before


def test_gradients_in_bf16_on_a_cpu_are_the_same_each_time_whatever_lay_in_memory():
    torch.manual_seed(0)
    x, weight = torch.randn(16, 64, 1, 1).bfloat16(), torch.randn(128, 64, 3, 3).bfloat16()
    found = []
    with devices.sound_bf16(torch.device("cpu"), "bf16"):
        for _ in range(20):
            junk = [torch.full((n,), float("nan")) for n in (1 << 20, 1 << 16, 1 << 14, 1 << 12) * 4]
            del junk  # what is freed is handed out again as it is
            own = weight.clone().requires_grad_()
            torch.nn.functional.conv2d(x, own, stride=2, padding=1).sum().backward()
            assert own.grad is not None
            found.append(own.grad)
    assert all(torch.equal(gradient, found[0]) for gradient in found)
    assert torch.isfinite(found[0]).all()
