"""Forward passes on the CPU: virb's encoding against an ordinary loop in inference mode, on the same images and weights.

The ordinary loop is a DataLoader over the images in memory, ``torch.inference_mode()``, batches of 256, default
allocator, no other setting. virb's side is ``FeatureCache.encode`` with the settings of the command line tool, writing
the embeddings to disk. Each runs in a process of its own, in turn. Also: how far the embeddings are apart, what a core's
matrix product reaches (the limit), and with --dtype bf16 or --compile what those would give.

Run: python benchmarks/forward.py [--arch resnet18] [--size 32] [--images 2048] [--batch 256] [--dtype bf16] [--compile]
     python benchmarks/forward.py --arch resnet50 --size 224 --images 256 --repeats 1 --warm-up 0
     OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/forward.py          (one core: no waiting of threads for each other)
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sides
import torch

from virb.convert.load import load_encoder
from virb.features.cache import FeatureCache
from virb.images.sets import ArrayImages
from virb.networks.encoder import FrozenEncoder
from virb.system import products
from virb.system.allocator import keep_freed_memory
from virb.system.threads import n_cores


def named(args: argparse.Namespace) -> str:
    return f"random:{args.arch}{',' if ':' in args.arch else ':'}size={args.size}"


def gigaflops(encoder: FrozenEncoder, size: int) -> float:
    """Return the multiplications and additions of one image's forward pass as virb runs it, in 1e9.

    Products with padding are among them, except where a map is smaller than the kernel (virb leaves those out).
    """
    from torch.utils.flop_counter import FlopCounterMode

    def of_product(x: list[int], weight: list[int], *_: Any, **__: Any) -> int:
        return 2 * math.prod(x) * weight[0]

    onednn = {torch.ops.mkldnn._linear_pointwise: of_product}  # virb.system.products
    with FlopCounterMode(display=False, custom_mapping=onednn) as counter:
        encoder.embed(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 1e9


def product_rate(seconds: float = 1.0) -> float:
    """Return what one core reaches on a matrix product of 1,024 x 1,024, by MKL or by oneDNN, in GFLOP of its own time."""
    torch.set_num_threads(1)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)

    def rate(product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
        n, start = 0, time.process_time()
        while time.process_time() - start < seconds / 2:
            product(a, b)
            n += 1
        return n * 2 * 1024**3 / 1e9 / (time.process_time() - start)

    return max(rate(torch.mm), rate(products.linear))


def side(args: argparse.Namespace, pixels: np.ndarray) -> sides.Work:
    place = Path(tempfile.gettempdir()) / "virb-benchmark-forward"
    place.mkdir(exist_ok=True)
    kept = place / f"{args.side}.npy"
    source = named(args)
    if args.side == "ordinary":
        network = load_encoder(source).trainable_copy().eval()
        encoder = load_encoder(source)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.from_numpy(pixels)), batch_size=args.batch
        )

        def loop() -> dict[str, Any]:
            with torch.inference_mode():
                rows = [network(encoder.preprocess(images)) for (images,) in loader]
            np.save(kept, torch.cat(rows).numpy())
            return {"kept": str(kept)}

        return loop
    keep_freed_memory()
    dtype = torch.bfloat16 if args.side == "virb, bf16" else torch.float32
    encoder = load_encoder(source, dtype=dtype)
    if args.side == "virb, compiled":
        encoder.prepare_network()
        assert encoder._network is not None
        encoder._network.features = torch.compile(encoder._network.features)  # type: ignore[method-assign]
    images = ArrayImages.of("noise", pixels)

    def encode() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as cache:
            (found,) = FeatureCache(Path(cache), limit_gb=10).encode([encoder], images)
            np.save(kept, found["embedding"].embedding)
        return {"kept": str(kept)}

    return encode


def main() -> None:
    parser = sides.parser(__doc__, arch="resnet18", size=32, repeats=3, warm_up=1)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dtype", choices=("bf16",))
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    shape = (args.images, args.size, args.size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if args.side:
        sides.serve(side(args, pixels))
        return
    names = ["ordinary", "virb"]
    names += ["virb, bf16"] if args.dtype else []
    names += ["virb, compiled"] if args.compile else []
    spent = sides.compare(names, repeats=args.repeats, warm_up=args.warm_up)
    print(f"{args.arch}, {args.size} px, {args.images} images, {n_cores()} cores")
    sides.show(spent, unit="images", n=args.images)
    print(f"ordinary / virb: {sides.ratio(spent, 'ordinary', 'virb')}")
    reference = np.load(spent["ordinary"].found["kept"])
    for name in names[1:]:
        found = np.load(spent[name].found["kept"])
        far = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)
        print(f"{name}: relative error of an embedding {far.max():.1e} at most")
    needed = gigaflops(load_encoder(named(args)), args.size)
    reached, possible = needed * args.images / spent["virb"].cpu_s, product_rate()
    print(
        f"limit: {needed:.2f} GFLOP an image; {reached:.0f} GFLOP a processor second, {reached / possible:.0%} of what a "
        f"core reaches on a matrix product ({possible:.0f})"
    )


if __name__ == "__main__":
    main()
