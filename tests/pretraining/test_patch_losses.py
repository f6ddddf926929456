"""The losses of masked patches against loops, and KoLeo against a hand-computed case."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from virb.pretraining import patch_losses


def test_patches_are_cut_row_by_row():
    images = torch.rand(2, 3, 8, 12)
    patches = patch_losses.patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    torch.testing.assert_close(patches[1, 4], images[1, :, 4:8, 4:8].flatten())


@pytest.mark.parametrize("normalize", [True, False])
def test_masked_pixels_against_a_loop(normalize):
    predicted, patches = torch.rand(2, 5, 12), torch.rand(2, 5, 12)
    hidden = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 1, 0]], dtype=torch.bool)
    terms = []
    for i, k in hidden.nonzero().tolist():
        target = patches[i, k]
        if normalize:
            target = (target - target.mean()) / torch.sqrt(target.var() + 1e-6)
        terms.append(((predicted[i, k] - target) ** 2).mean())
    found = patch_losses.masked_pixels(predicted, patches, hidden, normalize=normalize)
    torch.testing.assert_close(found, torch.stack(terms).mean())
    changed = predicted.clone()
    changed[0, 1] += 5  # a patch that was shown
    torch.testing.assert_close(patch_losses.masked_pixels(changed, patches, hidden, normalize=normalize), found)


def test_masked_prediction_against_a_loop():
    hidden = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    student, codes = torch.randn(5, 4), torch.softmax(torch.randn(5, 4), dim=1)
    rows, total = iter(range(5)), 0.0
    for mask in hidden:
        terms = []
        for _ in range(int(mask.sum())):
            k = next(rows)
            terms.append(-sum(codes[k, j] * torch.log_softmax(student[k] / 0.1, dim=0)[j] for j in range(4)))
        total += sum(terms) / max(len(terms), 1)
    found = patch_losses.masked_prediction(student, codes, hidden, 0.1)
    torch.testing.assert_close(found, torch.as_tensor(total / 3))
    nothing = patch_losses.masked_prediction(student[:0], codes[:0], torch.zeros(2, 3, dtype=torch.bool))
    assert float(nothing) == 0


def test_koleo_by_hand():
    # On the circle at 0, 90 and 100 degrees; the chords to the nearest are those of 90, 10 and 10 degrees.
    angle = torch.tensor([0.0, 90.0, 100.0]) * math.pi / 180
    z = 3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    chords = [2 * math.sin(math.radians(a) / 2) for a in (90, 10, 10)]
    assert float(patch_losses.koleo(z)) == pytest.approx(-sum(map(math.log, chords)) / 3, rel=1e-5)
    with pytest.raises(ValueError, match="at least two vectors"):
        patch_losses.koleo(z[:1])


def test_koleo_drives_the_nearest_apart():
    z = F.normalize(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    patch_losses.koleo(z).backward()
    with torch.no_grad():
        assert patch_losses.koleo(z - 0.01 * z.grad) < patch_losses.koleo(z)
