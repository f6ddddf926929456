"""Image operations on batches in which every image has its own parameters.

Images are floats (N, C, H, W) in [0, 1]; parameters are tensors of N values on the same device, or on the host. Each operation equals
torchvision's functional operator of the same name applied image by image to float images (the tests compare them); what
torchvision does not have says so. Geometric resampling and blurring are products with one small matrix an image and an
axis, which serves any mixture of sizes, enlarging or shrinking (antialiased), at the speed of matrix products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from virb.system import devices
from virb.training import device_ops

GRAY = device_ops.GRAY  # torchvision's weights


def to_float(images: Tensor) -> Tensor:
    """Return uint8 (N, H, W, 3) or (N, 3, H, W) as float32 (N, 3, H, W) in [0, 1]; floats pass as they are.

    Raises:
        ValueError: neither axis 1 nor axis 3 has three channels.
    """
    if images.is_floating_point():
        return images
    if images.ndim == 4 and images.shape[3] == 3:
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"Expected images (N, H, W, 3) or (N, 3, H, W); found {tuple(images.shape)}.")
    return images.to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)


def _resampling_matrix(start: Tensor, length: Tensor, out: int, size: int, cubic: bool) -> Tensor:
    """Weights (N, out, size) that resample pixels [start, start + length) of a line to ``out`` pixels.

    Bilinear with antialiasing: a triangle as wide as an output pixel, at least as one input pixel, cut at the crop's
    ends and renormalised; or bicubic, so too.
    """
    scale = (length / out)[:, None, None]
    support = scale.clamp_min(1.0)
    centre = (torch.arange(out, device=start.device) + 0.5)[None, :, None] * scale
    position = torch.arange(size, device=start.device)[None, None, :] - start[:, None, None] + 0.5
    distance = (position - centre).abs() / support
    weight = device_ops.cubic_weight(distance) if cubic else (1 - distance).clamp_min_(0)
    weight = weight * ((position > 0) & (position < length[:, None, None]))
    return weight / weight.sum(dim=2, keepdim=True)


def _apply_matrices(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply each image from the left by its ``rows`` (N, h, H) and from the right by its ``columns`` (N, w, W)."""
    n, c, height, width = images.shape
    h, w = rows.shape[1], columns.shape[1]
    images = torch.bmm(images.reshape(n, c * height, width), columns.transpose(1, 2)).view(n, c, height, w)
    return torch.matmul(rows[:, None], images).view(n, c, h, w)


def resized_crop(
    images: Tensor, boxes: Tensor, size: tuple[int, int], flip: Tensor | None = None, *, cubic: bool = False
) -> Tensor:
    """Cut ``boxes`` out and resize them to ``size`` (h, w), bilinear (or bicubic) and antialiased, as Pillow does.

    ``boxes`` is (N, 4): top, left, height, width in whole pixels. ``flip`` (N,) mirrors the images it is true for,
    which costs nothing here.
    """
    if images.device.type == "cuda":
        return device_ops.resized_crop(images, boxes, size, flip, cubic=cubic)
    top, left, height, width = boxes.to(images.dtype).unbind(1)
    rows = _resampling_matrix(top, height, size[0], images.shape[2], cubic)
    columns = _resampling_matrix(left, width, size[1], images.shape[3], cubic)
    if flip is not None:
        columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    found = _apply_matrices(images, rows, columns)
    return found.clamp_(0, 1) if cubic else found


def hflip(images: Tensor, flip: Tensor) -> Tensor:
    """Mirror, left to right, the images that ``flip`` (N,) is true for."""
    flip = devices.upload(flip, images.device)
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def rgb_to_grayscale(images: Tensor) -> Tensor:
    """Return the luma (N, 1, H, W)."""
    r, g, b = images.unbind(1)
    return (GRAY[0] * r + GRAY[1] * g + GRAY[2] * b).unsqueeze(1)


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Make the images that ``chosen`` (N,) is true for grey, in three equal channels."""
    if images.device.type == "cuda":
        return device_ops.grayscale(images, chosen)
    return torch.where(chosen[:, None, None, None], rgb_to_grayscale(images).expand_as(images), images)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by ``factor`` (N,), cut at 1."""
    return (images * _per_image(factor)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey: ``factor`` (N,) 0 gives that grey, 1 the image."""
    mean = rgb_to_grayscale(images).mean(dim=(1, 2, 3))
    return (images * _per_image(factor) + _per_image((1 - factor) * mean)).clamp_(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image: ``factor`` (N,) 0 gives it, 1 the image."""
    factor = _per_image(factor)
    return (images * factor + rgb_to_grayscale(images) * (1 - factor)).clamp_(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` (N,) of a full circle, in [-0.5, 0.5].

    Exact HSV: value v and chroma c do not change, so each new channel is v - c * clamp(min(k, 4 - k), 0, 1) with
    k = (n + 6 hue) mod 6 and n = 5, 3, 1.
    """
    r, g, b = images.unbind(1)
    v = torch.maximum(torch.maximum(r, g), b)
    c = v - torch.minimum(torch.minimum(r, g), b)
    is_red, is_green = v == r, v == g
    rise = torch.where(is_red, g - b, torch.where(is_green, b - r, r - g))
    start = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))
    six_hue = (rise / c.clamp_min(1e-12)).add_(start).add_(6 * shift[:, None, None])
    out = torch.empty_like(images)
    for channel, n in enumerate((5.0, 3.0, 1.0)):
        k = six_hue + n
        k.sub_((k / 6).floor_().mul_(6))  # remainder() is several times slower
        k.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)  # min(k, 4 - k) = 2 - |k - 2|
        torch.addcmul(v, c, k, value=-1, out=out[:, channel])
    return out


ADJUST = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


def color_jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Adjust brightness, contrast, saturation and hue, in each image's own order.

    ``factors`` is (N, 4) in that order of columns; ``order`` (N, 4) holds permutations of 0..3, first operation first, or
    -1 for an image that stays as it is. For images on a GPU both may be on the host.
    """
    if images.device.type == "cuda":
        return device_ops.color_jitter(images, factors, order)
    images = images.clone()
    for turn in range(4):
        for k, adjust in enumerate(ADJUST):
            chosen = (order[:, turn] == k).nonzero()[:, 0]
            if len(chosen):
                images[chosen] = adjust(images[chosen], factors[chosen, k])
    return images


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur with a Gaussian of standard deviation ``sigma`` (N,) pixels, cut to ``kernel_size`` (odd), edges mirrored.

    Raises:
        ValueError: the kernel is even or wider than the image allows.
    """
    _, _, height, width = images.shape
    radius = kernel_size // 2
    if kernel_size % 2 == 0 or radius >= min(height, width):
        raise ValueError(
            f"A blur needs an odd kernel size below twice the image's side; found {kernel_size} for {height}x{width}."
        )
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    weight = torch.exp(-0.5 * (offset[None] / sigma[:, None]).square())
    weight = devices.upload((weight / weight.sum(dim=1, keepdim=True)).to(images.dtype), images.device)
    rows = device_ops.blur_matrix(weight, height)
    return _apply_matrices(images, rows, rows if width == height else device_ops.blur_matrix(weight, width))


def solarize(images: Tensor, chosen: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert the pixels at or above ``threshold`` of the images that ``chosen`` (N,) is true for."""
    chosen = devices.upload(chosen, images.device)
    return torch.where(_per_image(chosen) & (images >= threshold), 1 - images, images)


def erase(images: Tensor, boxes: Tensor, value: float = 0.0) -> Tensor:
    """Fill ``boxes`` (N, 4: top, left, height, width; height 0 erases nothing) with ``value``."""
    top, left, height, width = (x[:, None] for x in devices.upload(boxes, images.device).unbind(1))
    y = torch.arange(images.shape[2], device=images.device)[None]
    x = torch.arange(images.shape[3], device=images.device)[None]
    inside = ((y >= top) & (y < top + height))[:, None, :, None] & ((x >= left) & (x < left + width))[:, None, None, :]
    return images.masked_fill(inside, value)


def rotate90(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate counter-clockwise by ``turns`` (N,) quarter turns, 0 to 3; the images must be square.

    Raises:
        ValueError: the images are not square.
    """
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"Quarter turns need square images; found {images.shape[2]}x{images.shape[3]}.")
    out = images.clone()
    for k in (1, 2, 3):
        chosen = devices.upload((turns == k).nonzero()[:, 0], images.device)
        if len(chosen):
            out.index_copy_(0, chosen, torch.rot90(images[chosen], k, (2, 3)))
    return out


def add_noise(images: Tensor, noise: Tensor) -> Tensor:
    """Add ``noise`` (N, C, H, W) and cut to [0, 1]."""
    return (images + noise).clamp_(0, 1)


def sobel(images: Tensor, chosen: Tensor) -> Tensor:
    """Replace the images that ``chosen`` (N,) is true for by the length of their luma's Sobel gradient, cut at 1.

    torchvision has no such operator; edges are mirrored, and the kernels (1, 2, 1) x (-1, 0, 1) are divided by 4.
    """
    gray = F.pad(rgb_to_grayscale(images), (1, 1, 1, 1), mode="reflect")
    smooth = gray.new_tensor([0.25, 0.5, 0.25])
    slope = gray.new_tensor([-1.0, 0.0, 1.0])
    kernels = torch.stack([smooth[:, None] * slope, slope[:, None] * smooth])[:, None]
    gradient = F.conv2d(gray, kernels)
    edges = gradient.square().sum(dim=1, keepdim=True).sqrt().clamp_max(1)
    chosen = devices.upload(chosen, images.device)
    return torch.where(_per_image(chosen), edges.expand_as(images), images)


def patches(images: Tensor, grid: int, size: int, offsets: Tensor) -> Tensor:
    """Cut each cell of a ``grid`` x ``grid`` board at its own offset: PIRL's jigsaw tiles.

    Args:
        images: (N, C, H, W), H and W at least ``grid * size``.
        grid: cells a side.
        size: side of a patch in pixels, at most that of a cell.
        offsets: (N, grid * grid, 2), whole pixels from the cell's top left corner, row then column.

    Returns:
        (N, grid * grid, C, size, size), cells row by row.
    """
    n, c, height, width = images.shape
    cell = (height // grid, width // grid)
    index = torch.arange(grid * grid, device=images.device)
    top = (index // grid) * cell[0] + offsets[..., 0]
    left = (index % grid) * cell[1] + offsets[..., 1]
    span = torch.arange(size, device=images.device)
    y = (top[..., None] + span)[:, :, None, :, None]
    x = (left[..., None] + span)[:, :, None, None, :]
    batch = torch.arange(n, device=images.device)[:, None, None, None, None]
    channel = torch.arange(c, device=images.device)[None, None, :, None, None]
    return images[batch, channel, y, x]


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtract ``mean`` and divide by ``std``, a value a channel."""
    shape = (1, -1, 1, 1)
    middle, width = (devices.constant(tuple(map(float, values)), images.device) for values in (mean, std))
    return (images - middle.to(images.dtype).view(shape)) / width.to(images.dtype).view(shape)
