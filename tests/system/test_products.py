"""Products by oneDNN: equal to PyTorch's own, only where nothing is trained, and never where they are not to be had."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.convert.load import load_encoder
from virb.system import products


def parts(shape: tuple[int, ...] = (3, 11, 40), n_out: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(size, generator=generator) for size in (shape, (n_out, shape[-1]), (n_out,)))  # type: ignore[return-value]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of what goes to oneDNN's product, which is computed by PyTorch's own here."""
    found: list[torch.Size] = []

    def product(x: Tensor, weight: Tensor, bias: Tensor | None, *_: object) -> Tensor:
        found.append(x.shape)
        return F.linear(x, weight, bias)

    monkeypatch.setattr(products, "_by_onednn", lambda: product)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    return found


@pytest.mark.parametrize("shape", [(8, 40), (3, 11, 40), (2, 3, 5, 40)])
def test_the_product_is_pytorchs(shape: tuple[int, ...]) -> None:
    x, weight, bias = parts(shape)
    torch.testing.assert_close(products.linear(x, weight, bias), F.linear(x, weight, bias), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(products.linear(x, weight), F.linear(x, weight), rtol=1e-5, atol=1e-5)


def test_similarities_are_the_products_of_all_pairs_in_the_room_that_is_given_or_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b, _ = parts((16, 40))
    room = torch.full((16, 24), torch.nan)
    torch.testing.assert_close(products.similarities(a, b, room), a @ b.T, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(products, "_by_onednn", lambda: None)
    assert products.similarities(a, b, room) is room
    torch.testing.assert_close(room, a @ b.T)


def test_what_trains_or_is_of_another_kind_goes_by_pytorchs_own(asked: list[torch.Size]) -> None:
    x, weight, bias = parts()
    products.linear(x, weight, bias)
    assert asked == [x.shape]
    asked.clear()
    products.linear(x.double(), weight.double())
    products.linear(x[:, :, ::2], weight[:, ::2])  # lies apart in memory
    products.linear(x[0, :7], weight)  # a few rows
    products.linear(x.new_zeros(0, 40), weight)
    products.linear(x, weight.clone().requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(x, weight).dtype == torch.bfloat16
    assert asked == []
    with torch.no_grad():
        products.linear(x, weight.clone().requires_grad_())
    assert asked == [x.shape]


def test_widths_that_do_not_fit_are_pytorchs_error(asked: list[torch.Size]) -> None:
    x, weight, _ = parts()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        products.linear(x, weight[:, :39].contiguous())


@pytest.mark.parametrize("wrong", ["is not there", "takes other arguments", "computes something else"])
def test_a_product_that_is_not_what_is_expected_is_not_used(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ops:
        if wrong != "is not there":

            @staticmethod
            def _linear_pointwise(x: Tensor, weight: Tensor, *more: object) -> Tensor:
                if wrong == "takes other arguments":
                    raise TypeError("one argument more")
                return x @ weight.T  # without the bias

    monkeypatch.setattr(torch.ops, "mkldnn", Ops)
    products._by_onednn.cache_clear()
    try:
        assert products._by_onednn() is None
        x, weight, bias = parts()
        assert torch.equal(products.linear(x, weight, bias), F.linear(x, weight, bias))
    finally:
        products._by_onednn.cache_clear()


def test_a_frozen_network_uses_it_and_the_network_that_trains_does_not(asked: list[torch.Size]) -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    network = nn.Sequential(nn.Linear(40, 24), Own(24, 24))
    expected = network(parts((9, 40))[0])
    assert products.use_for_inference(network) == 1
    with torch.no_grad():
        assert torch.equal(network(parts((9, 40))[0]), expected)
    assert len(asked) == 1

    asked.clear()
    encoder = load_encoder("random:vit_tiny_patch16:depth=2,size=32")
    images = torch.rand(4, 3, 32, 32)
    found = encoder.embed(images)
    assert len(asked) == 2 * 4  # query, key and value; their projection; the two layers of the network after it
    trained = encoder.trainable_copy()
    trained(images).sum().backward()
    assert len(asked) == 8
    assert not any(isinstance(module, products.InferenceLinear) for module in encoder.backbone.modules())
    assert found.shape == (4, encoder.dim)
