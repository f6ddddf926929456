"""Image operations for a GPU, where an operation costs more than the pixels: few of them, on all images of a batch.

They equal those of :mod:`virb.training.image_ops` but for rounding (the tests compare them). What an image has of its own
comes as small tensors on the host, where it was drawn; matrices are made of it there as far as they are small, and
uploaded from pinned memory, so that nobody waits.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from virb.system import devices

GRAY = (0.2989, 0.587, 0.114)


def _line(start: Tensor, length: Tensor, out: int, size: int) -> Tensor:
    """Return what resampling a line of ``size`` pixels to ``out`` needs: (N, out + 2 * size), the outputs' centres, the
    pixels' places, both in supports of the filter, and which pixels are within the crop.
    """
    scale = (length / out)[:, None]
    support = scale.clamp_min(1.0)
    centre = (torch.arange(out, device=start.device) + 0.5)[None] * scale
    position = torch.arange(size, device=start.device)[None] - start[:, None] + 0.5
    inside = (position > 0) & (position < length[:, None])
    return torch.cat([centre / support, position / support, inside.to(centre.dtype)], dim=1)


def cubic_weight(distance: Tensor) -> Tensor:
    """Return Keys' cubic (a = -1/2, Pillow's) at ``distance`` >= 0 from its centre, which is 0 from 2 on."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def _resampling(line: Tensor, out: int, size: int, cubic: bool) -> Tensor:
    """Return the weights (N, out, size) of ``_line`` (N, out + 2 * size), on its device."""
    centre, position, inside = line.split([out, size, size], dim=1)
    distance = (centre[:, :, None] - position[:, None]).abs_()
    weight = (cubic_weight(distance) if cubic else torch.sub(1, distance).clamp_min_(0)).mul_(inside[:, None])
    return weight.div_(weight.sum(dim=2, keepdim=True))


def resized_crop(
    images: Tensor, boxes: Tensor, size: tuple[int, int], flip: Tensor | None = None, *, cubic: bool = False
) -> Tensor:
    """Cut, resize and mirror as ``image_ops.resized_crop``; ``boxes`` and ``flip`` are on the host."""
    n, c, height, width = images.shape
    top, left, tall, wide = boxes.to(images.dtype).unbind(1)
    rows, columns = _line(top, tall, size[0], height), _line(left, wide, size[1], width)
    if flip is not None:
        mirrored = torch.cat([columns[:, : size[1]].flip(1), columns[:, size[1] :]], dim=1)
        columns = torch.where(flip[:, None], mirrored, columns)
    if (size[0], height) == (size[1], width):  # both as one
        lines = devices.upload(torch.cat([rows, columns]), images.device)
        across, along = _resampling(lines, size[0], height, cubic).chunk(2)
    else:
        across = _resampling(devices.upload(rows, images.device), size[0], height, cubic)
        along = _resampling(devices.upload(columns, images.device), size[1], width, cubic)
    images = torch.bmm(images.reshape(n, c * height, width), along.transpose(1, 2)).view(n, c, height, size[1])
    found = torch.matmul(across[:, None], images).view(n, c, *size)
    return found.clamp_(0, 1) if cubic else found


def color_jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Adjust as ``image_ops.color_jitter``.

    All but the hue are products of the channels with a matrix an image, plus a multiple of the mean grey: three of them
    before the hue and three after, the identity for images whose turn it is not.
    """
    n, _, height, width = images.shape
    gray = torch.tensor(GRAY, device=factors.device)
    eye = torch.eye(3, device=factors.device)
    hue_at = (order == 3).to(torch.uint8).argmax(dim=1)
    steps = []
    for is_after in (False, True):
        for turn in range(int(is_after), 3 + int(is_after)):
            kind = order[:, turn]
            is_due = (turn > hue_at) if is_after else (turn < hue_at)
            factor = factors.gather(1, kind.clamp_min(0)[:, None])[:, 0]
            kept = torch.where(is_due & (kind >= 0) & (kind < 3), factor, torch.ones_like(factor))
            mixed = (1 - kept)[:, None, None] * gray.expand(3, 3)
            pixel = kept[:, None, None] * eye + mixed * (kind == 2)[:, None, None]
            steps.append(torch.stack([pixel, mixed * (kind == 1)[:, None, None]]))
    shift = torch.where((order == 3).any(dim=1), factors[:, 3], torch.zeros_like(factors[:, 3]))
    matrices = devices.upload(torch.stack(steps).to(images.dtype), images.device)  # (6, 2, N, 3, 3)
    turned = devices.upload((6 * shift).to(images.dtype), images.device)
    flat = images.reshape(n, 3, height * width)
    for k, (pixel, mean) in enumerate(matrices):
        if k == 3:
            flat = _turned_hue(flat, turned)
        offset = torch.bmm(mean, flat.mean(dim=2, keepdim=True))
        flat = torch.baddbmm(offset, pixel, flat).clamp_(0, 1)
    return flat.view(n, 3, height, width)


def _turned_hue(flat: Tensor, six_shift: Tensor) -> Tensor:
    """Turn the hue of ``flat`` (N, 3, pixels) by ``six_shift`` (N,) sixths of a circle; as ``image_ops.adjust_hue``."""
    r, g, b = flat.unbind(1)
    low, v = torch.aminmax(flat, dim=1)
    c = v - low
    rise = torch.where(v == g, torch.add(b - r, c, alpha=2), torch.add(r - g, c, alpha=4))
    rise = torch.where(v == r, g - b, rise)
    hue = rise.div_(c.clamp_min(1e-12)).add_(six_shift[:, None])
    first = devices.constant((5.0, 3.0, 1.0), flat.device).to(flat.dtype)
    k = (hue[:, None] + first[:, None]).remainder_(6).sub_(2).abs_()
    return torch.addcmul(v[:, None], c[:, None], torch.sub(2, k).clamp_(0, 1), value=-1)


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Make the images that ``chosen`` (N,), on the host, is true for grey."""
    gray = torch.tensor(GRAY, device=chosen.device).expand(3, 3)
    matrix = torch.where(chosen[:, None, None], gray, torch.eye(3, device=chosen.device))
    matrix = devices.upload(matrix.to(images.dtype), images.device)
    return torch.bmm(matrix, images.flatten(2)).view_as(images)


@functools.lru_cache(maxsize=16)
def mirrored_offsets(size: int, radius: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return by which element of a kernel of 2 * radius + 1 a pixel (column) counts for another (row) of a line: itself,
    and mirrored at either end without the end itself; 2 * radius + 1 where it does not.
    """
    at = torch.arange(size)
    row, column = at[:, None], at[None]
    ways = (column - row, -column - row, 2 * (size - 1) - column - row)
    exists = (torch.ones(size, dtype=torch.bool), at > 0, at < size - 1)

    def element(offset: Tensor, is_there: Tensor) -> Tensor:
        return torch.where((offset.abs() <= radius) & is_there[None], offset + radius, 2 * radius + 1).to(device)

    with torch.inference_mode(False):
        straight, left, right = (element(o, e) for o, e in zip(ways, exists, strict=True))
    return straight, left, right


def blur_matrix(weight: Tensor, size: int) -> Tensor:
    """Return the matrices (N, size, size) that blur a line with kernels (N, 2 * radius + 1), edges mirrored."""
    padded = F.pad(weight, (0, 1))  # beyond the kernel there is nothing
    offsets = mirrored_offsets(size, weight.shape[1] // 2, weight.device)
    straight, left, right = (padded[:, at] for at in offsets)
    return straight.add_(left).add_(right)
