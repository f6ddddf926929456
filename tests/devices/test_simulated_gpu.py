"""That the simulated device refuses, computes and counts as it says: pytest -p sim_gpu test_sim_gpu.py"""

import copy
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn


def _net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


def test_mixing_devices_raises(gpu):
    a, b = torch.ones(3, device="cuda"), torch.ones(3)
    for bad in (lambda: a + b, lambda: b + a, lambda: torch.cat([a, b]), lambda: b[torch.tensor([0]).cuda()],
                lambda: nn.functional.cross_entropy(a[None], torch.tensor([0])), lambda: nn.Linear(3, 2)(a),
                lambda: torch.rand(2, device="cuda", generator=torch.Generator()), lambda: a.numpy(),
                lambda: a.to("cuda:1")):  # fmt: skip
        with pytest.raises((RuntimeError, TypeError)):
            bad()
    assert (a + torch.tensor(1.0)).device.type == "cuda"
    assert (2 * a).is_cuda


def test_counts(gpu):
    x = torch.arange(6.0)
    with gpu.region("up"):
        y = x.to("cuda")
        x.pin_memory().to("cuda", non_blocking=True)
        torch.tensor([1.0, 2.0], device="cuda")
        y.new_tensor([1.0])
    c = gpu.counts("up")
    assert (c["h2d"], c["h2d_bytes"], c["h2d_blocking"], c["h2d_pageable"], c["syncs"]) == (4, 24 + 24 + 8 + 4, 3, 3, 0)
    with gpu.region("wait"):
        float(y.sum()), bool((y > 0).any()), y.tolist(), y.cpu(), y.nonzero(), y[y > 2], torch.where(y > 2), y.unique()
        torch.repeat_interleave(y.long()), torch.cuda.synchronize(), y.cpu().numpy()
        y.masked_fill(y > 2, 0.0)
        y[y > 3] = 1.0  # a fill: no wait
    assert (gpu.counts("wait")["syncs"], gpu.counts("wait")["d2h"]) == (11, 3), gpu.report()
    with pytest.raises(AssertionError, match="11 syncs"):
        gpu.assert_at_most("wait", syncs=10)
    with pytest.raises(AssertionError, match="nothing ran"):
        gpu.assert_at_most("elsewhere", syncs=10)


@pytest.mark.parametrize("kind", ["sgd", "adam", "foreach", "fused"])
def test_training_gives_the_cpu_result(gpu, kind):
    def optimizer(parameters):
        if kind == "sgd":
            return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        return torch.optim.Adam(parameters, lr=0.1, **({kind: True} if kind in ("foreach", "fused") else {}))

    results = []
    for device in ("cpu", "cuda"):
        net = _net()
        first = net[0].weight
        net.to(device, memory_format=torch.channels_last)
        assert net[0].weight is first
        assert isinstance(first, nn.Parameter)
        assert first.is_leaf
        twin = copy.deepcopy(net)
        opt = optimizer(net.parameters())
        x, t = (
            torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1)).to(device),
            torch.arange(8).to(device) % 4,
        )
        for _ in range(3):
            nn.functional.cross_entropy(net(x), t).backward()
            opt.step(), opt.zero_grad()
        file = io.BytesIO()
        torch.save(net.state_dict(), file), file.seek(0)
        results.append({k: v.cpu() for k, v in torch.load(file, map_location="cpu", weights_only=True).items()})
        assert not torch.equal(twin[0].weight, net[0].weight)
    for key, value in results[0].items():
        torch.testing.assert_close(results[1][key], value, rtol=1e-4, atol=1e-6)


def test_autocast_scaler_vmap_inference_threads_loader(gpu):
    net = _net().cuda()
    opt, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cuda")
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cuda", dtype=dtype):
            out = net(torch.rand(4, 3, 9, 9, device="cuda"))
            assert out.dtype == dtype
        scaler.scale(out.float().sum()).backward()
        scaler.step(opt), scaler.update()
    assert torch.vmap(lambda v: v @ v)(torch.ones(3, 4, device="cuda")).tolist() == [4.0, 4.0, 4.0]
    assert torch.func.vmap(torch.func.grad(lambda v: (v**2).sum()))(torch.ones(3, 2, device="cuda")).is_cuda
    with torch.inference_mode(), ThreadPoolExecutor(1) as pool:
        made = pool.submit(
            lambda: torch.einsum("ij,kj->ik", torch.ones(2, 3, device="cuda"), torch.eye(3).cuda())
        ).result()
    assert made.is_cuda
    assert made.cpu().sum() == 6
    with torch.inference_mode():  # views of tensors from outside, and moving a module
        assert net[0].weight[0].is_cuda
        assert _net().cuda()(torch.rand(2, 3, 9, 9, device="cuda")).is_cuda
    generator = torch.Generator("cuda").manual_seed(3)
    assert isinstance(generator, torch.Generator)
    assert torch.randperm(5, device="cuda", generator=generator).is_cuda
    data = torch.utils.data.TensorDataset(torch.arange(8.0))
    assert all(b.is_pinned() for (b,) in torch.utils.data.DataLoader(data, batch_size=4, pin_memory=True))
    x = torch.ones(2, 3, 4, 5, device="cuda", requires_grad=True)
    nn.functional.scaled_dot_product_attention(x, x, x).sum().backward()
    before = gpu.live_bytes
    big = torch.zeros(1000, device="cuda")
    assert gpu.live_bytes == before + 4000
    assert torch.cuda.mem_get_info()[0] < torch.cuda.mem_get_info()[1]
    del big
    assert gpu.live_bytes == before
    with torch.random.fork_rng(devices=[0]), torch.cuda.stream(torch.cuda.Stream()):
        torch.rand(2, device="cuda")


def test_it_leaves_nothing_behind():
    assert not torch.cuda.is_available()
    assert torch.Generator is torch._C.Generator
    assert not torch.ones(1).is_pinned()
    with pytest.raises(Exception, match=r"(?i)driver|cuda"):
        torch.ones(1, device="cuda")
