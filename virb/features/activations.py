"""What analyses of representations need: encoders by name, images from a folder or task, layers batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from virb.contracts.analysis import NotApplicable, Option, comma_list
from virb.errors import DataError, UsageError

if TYPE_CHECKING:
    from virb.images.sets import ImageSet
    from virb.networks.encoder import FrozenEncoder


def encoder_list(text: str) -> tuple[str, ...]:
    """Split names at commas, or at semicolons where there is one: an encoder's own options have commas."""
    return tuple(part.strip() for part in text.split(";") if part.strip()) if ";" in text else comma_list(text)


ENCODERS = Option(
    "encoders",
    (),
    "Encoders (files, timm:NAME, random:ARCH, ...), commas between; semicolons if an encoder has options of its own.",
    type=encoder_list,
)
IMAGES = Option("images", "", "A folder of images, or an end task whose test images are used.")
N_IMAGES = Option("n", 2048, "Images drawn at random (fixed seed) from larger sets.", type=int)


DEVICE = Option("device", "auto", "Where encoders run: auto, cpu, cuda, cuda:1, mps.")


def load_encoders(named: Sequence[str], device: str = "auto") -> list[FrozenEncoder]:
    """Load the encoders that an option names, to run on ``device``.

    Raises:
        NotApplicable: none is named.
        CheckpointError: one cannot be loaded.
        UsageError: two have one name, or there is no such device here.
    """
    if not named:
        raise NotApplicable(
            "It looks through encoders: --option encoders=a.pt,b.pt; `--option help` says what else it takes."
        )
    from virb.convert.load import expand_sources, load_encoder
    from virb.system import devices

    place = devices.resolve(device)
    loaded = [load_encoder(name, device=place) for name in expand_sources(named)]
    names = [encoder.name for encoder in loaded]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Two encoders are called {twice[0]!r}. Rename a file, or give one a name: FILE:name=OTHER.")
    return loaded


def open_images(source: str, *, n: int, seed: int = 0) -> ImageSet:
    """Open the images of a folder (with its subfolders) or of an end task's test split, at most ``n`` of them.

    Raises:
        NotApplicable: no source is named.
        DataError: the folder holds no image.
        UsageError: ``n`` is too small, or ``source`` is neither a folder nor a task.
    """
    from virb import registry
    from virb.contracts.examples import DataContext
    from virb.images.listing import list_images
    from virb.images.sets import IMAGE_SUFFIXES, FileImages, ImageSubset

    if not source:
        raise NotApplicable("It needs images: --option images=FOLDER, or the name of an end task.")
    if n < 4:
        raise UsageError(f"n={n}: at least 4 images are needed.")
    images: ImageSet
    if Path(source).is_dir():
        root = Path(source)
        files = list_images(root).paths
        if not files:
            raise DataError(f"The folder {source} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
        images = FileImages(root.name, root, files)
    elif source in registry.names("tasks"):
        images = registry.load("tasks", source).examples(DataContext(), "test").images
    else:
        raise UsageError(f"images={source}: there is no such folder, and no end task of that name.")
    if len(images) > n:
        rows = np.sort(np.random.default_rng(seed).choice(len(images), n, replace=False))
        images = ImageSubset(images, rows)
    return images


def batches(encoder: FrozenEncoder, images: ImageSet, *, batch: int = 64) -> Iterator[Any]:
    """Yield prepared batches (b, 3, h, w) of ``images`` as the encoder takes them."""
    import torch

    for start in range(0, len(images), batch):
        rows = range(start, min(start + batch, len(images)))
        yield torch.cat([encoder.prepare(torch.from_numpy(images.image(i).copy())[None]) for i in rows])


def embedded(encoders: Sequence[FrozenEncoder], images: ImageSet) -> list[np.ndarray]:
    """Return each encoder's embeddings (N, D), float32, from the feature cache: what is not there is computed in one pass
    over the images. The arrays are mapped files, to be read block by block (:func:`in_blocks`).
    """
    from virb.features.cache import FeatureCache

    return [found["embedding"].embedding for found in FeatureCache().encode(encoders, images)]


def in_blocks(rows: np.ndarray, *, block: int = 1024) -> Iterator[np.ndarray]:
    """Yield ``rows`` (N, D) a block at a time."""
    for start in range(0, len(rows), block):
        yield np.asarray(rows[start : start + block])


def watch_blocks(
    encoder: FrozenEncoder, images: ImageSet, see: Callable[[str, np.ndarray], None], *, batch: int = 8
) -> None:
    """Show ``see(name, activations)`` what every residual or transformer block puts out, batch by batch.

    The blocks are the compound members of the network's sequences (of its stages' sequences, where members are whole
    stages), named block0, block1, ... in the order they run; then comes the embedding. Activations are (b x positions, channels): every position of a map, and every
    token, is a row, as VisualDNA counts them. One block's activations are in memory at a time.

    Args:
        encoder: any; one without blocks (raw pixels, a plain chain of convolutions) shows its pyramid's maps instead.
        images: what it looks at.
        see: called in the order of the layers, once a batch for each.
    """
    from torch import nn

    encoder.prepare_network()
    blocks: list[Any] = []
    inside: set[int] = set()
    for module in encoder.modules():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            for child in module:
                if _is_block(child) and id(child) not in inside:
                    blocks.append(child)
                    inside.update(id(part) for part in child.modules())
    order: dict[int, str] = {}

    def hook(module: Any, _: Any, output: Any) -> None:
        value = output[0] if isinstance(output, tuple | list) else output
        see(order.setdefault(id(module), f"block{len(order)}"), _rows(value))

    handles = [block.register_forward_hook(hook) for block in blocks]
    try:
        for x in batches(encoder, images, batch=batch):
            if blocks:
                embedding = encoder.embed(x)
            else:
                embedding, maps = encoder.features(x)
                for k, found in enumerate(maps):
                    see(f"block{k}", _rows(found))
            see("embedding", embedding.cpu().numpy())
    finally:
        for handle in handles:
            handle.remove()


def _is_block(module: Any) -> bool:
    """A part with parts, neither a sequence itself nor a stage (which holds a sequence of blocks)."""
    from torch import nn

    def is_compound(part: Any) -> bool:
        return not isinstance(part, nn.Sequential | nn.ModuleList) and any(True for _ in part.children())

    sequences = [part for part in module.modules() if isinstance(part, nn.Sequential | nn.ModuleList)]
    is_stage = any(
        len(kinds) > 1 and len(set(kinds)) == 1 for kinds in ([type(m) for m in s if is_compound(m)] for s in sequences)
    )
    return is_compound(module) and not is_stage


def _rows(value: Any) -> np.ndarray:
    """(b x positions, channels) of a map (b, C, h, w) or (b, h, w, C), of tokens (b, L, C), or of vectors (b, C)."""
    value = value.detach().float()
    if value.ndim == 4:
        # Maps are square, so the side that differs from the two equal ones tells where the channels are.
        channels_last = value.shape[1] == value.shape[2] != value.shape[3]
        value = value if channels_last else value.permute(0, 2, 3, 1)
    return np.asarray(value.reshape(-1, value.shape[-1]).cpu().numpy())


def layer_names(encoder: FrozenEncoder) -> tuple[str, ...]:
    """Names of what :func:`layers` yields: the pixels, each pyramid level, the embedding."""
    return ("pixels", *(f"block{k}" for k in range(len(encoder.channels))), "embedding")


def layers(encoder: FrozenEncoder, images: ImageSet, *, batch: int = 64) -> Iterator[list[np.ndarray]]:
    """Yield for each batch the activations of all layers, (b, ...) each, from one forward pass."""
    for x in batches(encoder, images, batch=batch):
        embedding, maps = encoder.features(x)
        yield [x.cpu().numpy(), *(m.cpu().numpy() for m in maps), embedding.cpu().numpy()]
