"""Images a second through SimCLR's augmentation: virb's batches against torchvision image by image.

    python benchmarks/augmentation.py [--size 64] [--batch 256] [--device cpu] [--threads 2]

Both do crop, flip, jitter in random order, gray and blur at SimCLR's strengths, with parameters of its own for every
image, and normalise; the tests compare what they do, this compares how fast.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torchvision.transforms import v2 as T

from virb.system.allocator import keep_freed_memory
from virb.training import augment


def rate(run: Callable[[], object], images: int, device: str, seconds: float) -> float:
    """Images a second, the first call left out."""
    run()
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or n == 0:
        run()
        n += 1
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return n * images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()

    images = torch.randint(0, 256, (args.batch, args.size, args.size, 3), dtype=torch.uint8, device=args.device)
    view = augment.View(augment.compose("crop+flip+jitter+gray+blur", args.size))
    generator = torch.Generator(args.device).manual_seed(0)
    kernel = max(3, args.size // 10 // 2 * 2 + 1)
    reference = T.Compose(
        [
            T.RandomResizedCrop(args.size),
            T.RandomHorizontalFlip(),
            T.ToDtype(torch.float32, scale=True),
            T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(kernel, (0.1, 2.0))], 0.5),
            T.Normalize(augment.IMAGENET_MEAN, augment.IMAGENET_STD),
        ]
    )
    planar = images.permute(0, 3, 1, 2).contiguous()
    ours = rate(lambda: view(images, generator), args.batch, args.device, args.seconds)
    theirs = rate(lambda: torch.stack([reference(image) for image in planar]), args.batch, args.device, args.seconds)
    print(f"{args.size} px, batches of {args.batch}, {args.device}, {args.threads} threads")
    print(f"virb, batched              {ours:10,.0f} images/s")
    print(f"torchvision v2, one by one {theirs:10,.0f} images/s   ({ours / theirs:.1f} times slower)")


if __name__ == "__main__":
    main()
