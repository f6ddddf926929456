"""A release's own file for one of timm's models, by timm's converter (``checkpoint_filter_fn``), and then checked.

timm's converters rename and reshape, and say nothing of what they leave out or resize. Here every tensor of the file
has to reach the model, or to be one that no encoder has; a table that the converter resized to the model's size is
refused; and what makes another network of the same tensors (quick GELU, a norm moved behind the pooling) is too.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from virb.contracts.encoder import MatchReport
from virb.convert import choice
from virb.convert.match import checked_weight
from virb.convert.tables import State, listed, tables
from virb.errors import CheckpointError
from virb.networks.base import Backbone

# What no encoder has, in any of the releases that timm converts: heads, decoders, text towers, fixed tables.
_UNUSED = re.compile(
    r"(.*\.)?(mask_token|masked_embed|relative_position_index|attn_mask|bias_mask|periods|freqs|num_batches_tracked)"
    r"|(head|heads|head_dist|fc|lm_head|cls_pt_layers|classifier|projectors|local_cls_norm|pre_logits)(\..*)?"
    r"|(decoder|prompt_encoder|mask_decoder|text|text_decoder|dino_head|ibot_head)(_?[a-z]*)\..*|decoder_pos_embed"
)
_TEXT = re.compile(
    r"(transformer|ln_final)\..*|positional_embedding|text_projection(\..*)?|token_embedding\.weight|logit_(scale|bias)"
    r"|input_resolution|context_length|vocab_size"
)
_OPENAI = {"input_resolution", "context_length", "vocab_size"}


@dataclass(frozen=True)
class _Candidate:
    container: str
    prefix: str
    own: State  # without the prefix
    others: int

    @property
    def place(self) -> str:
        return f"{self.container}/{self.prefix}" if self.container else self.prefix

    @property
    def rank(self) -> int:
        return choice.rank(self.container, self.prefix, self.own)


def match_by_timm(
    content: Mapping[str, Any],
    backbone: Backbone,
    *,
    name: str,
    prefix: str | None = None,
    ema: str | None = None,
    what: str,
) -> tuple[State, MatchReport] | None:
    """Return the state of timm's model ``name`` by timm's own converter, None if timm has none for its family.

    Raises:
        CheckpointError: no table of the file gives exactly the model's tensors (it lists what the closest lacks), or
            several do and differ.
    """
    convert = _converter(name)
    if convert is None:
        return None
    expected = {key.removeprefix(backbone.key_prefix): value for key, value in backbone.state_dict().items()}
    done: list[tuple[_Candidate, State, list[str]]] = []
    reasons: list[str] = []
    candidates = choice.chosen(list(_candidates(content)), prefix=prefix, ema=ema, what=what)
    for candidate in sorted(candidates, key=lambda one: one.rank):
        if done and candidate.rank > done[0][0].rank:
            break
        try:
            state, unused = _converted(candidate.own, backbone, expected, convert, name)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        done.append((candidate, state, unused))
    if not done:
        shortest = min(reasons, key=len, default="it holds no tensors.")
        raise CheckpointError(f"{what} is not exactly {backbone.label}, by timm's own converter either: {shortest}")
    first, state, unused = done[0]
    for other, values, _ in done[1:]:
        if any(not torch.equal(value, values[key]) for key, value in state.items()):
            raise CheckpointError(
                f"{what} holds several different networks that are exactly {backbone.label}: {first.place!r} and "
                f"{other.place!r}. Choose one with the option prefix=..."
            )
    dropped = Counter(key.split(".")[0] for key in unused)
    others = tuple(other.place for other, *_ in done[1:])
    notes = (f"converted by timm ({convert.__module__})", *choice.said(first.place, [one.place for one in candidates]))
    report = MatchReport(first.container, first.prefix, dict(dropped), others, "timm's own converter", notes)
    return {f"{backbone.key_prefix}{key}": value for key, value in state.items()}, report


def _converter(name: str) -> Callable[[State, Any], State] | None:
    """Return the converter of the file that declares timm's model ``name``."""
    import timm

    if not timm.is_model(name):
        return None
    module = sys.modules[timm.models.model_entrypoint(name.split(".")[0]).__module__]
    function = getattr(module, "checkpoint_filter_fn", None)
    if function is None:
        return None
    options = {"adapt_layer_scale": True} if "adapt_layer_scale" in inspect.signature(function).parameters else {}

    def convert(state: State, model: Any) -> State:
        with contextlib.redirect_stdout(io.StringIO()):  # one of them prints what it meets
            return function(state, model, **options)

    convert.__module__ = module.__name__
    return convert


def _candidates(content: Mapping[str, Any]) -> Iterator[_Candidate]:
    """Yield every table, whole and below each prefix that many of its names share."""
    for container, table in tables(content):
        starts = Counter(
            key[: match.end()]
            for key in table
            for match in re.finditer(r"\.", key)
            if key[: match.end()].count(".") <= 3
        )
        common = [
            start for start, n in starts.most_common(12) if n >= 8 and not re.search(r"\d|blocks|layers|stages", start)
        ]
        for start in ("", *common):
            own = {key[len(start) :]: value for key, value in table.items() if key.startswith(start)}
            yield _Candidate(container, start, own, len(table) - len(own))


def _converted(
    own: State, backbone: Backbone, expected: Mapping[str, Tensor], convert: Callable[[State, Any], State], name: str
) -> tuple[State, list[str]]:
    """Return the model's state and which tensors of the file it does not use.

    Raises:
        CheckpointError: the state is not exactly the model's, or is of another network.
    """
    model = getattr(backbone, "net", backbone)
    if set(own) >= _OPENAI and "quickgelu" not in name and "resnet" not in name:
        raise CheckpointError(
            f"it is OpenAI's, whose networks have quick GELU, and {name} has not: choose a ..._quickgelu_... one."
        )
    try:
        state = convert(dict(own), model)
    except Exception as error:  # a converter that meets another layout than its own fails in any way
        raise CheckpointError(f"timm's converter fails on it ({type(error).__name__}: {error}).") from error
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    heads = backbone.head_names
    foreign = [key for key in state if key not in expected and not _is_unused(key, state, heads)]
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    used = set(own) if missing or wrong else _used(own, model, convert)  # which is asked only of what fits
    lost = [key for key in own if key not in used and key not in state and not _is_unused(key, own, heads)]
    lost = [key for key in lost if not (key.endswith("bias") and not bool(own[key].any()))]
    resized = [key for key in state if key in own and _is_resized(own[key], state[key])]
    moved = ["norm"] if "fc_norm.weight" in expected and "fc_norm.weight" not in own and "norm.weight" in own else []
    lines = [
        f"{title} ({len(names)}): {listed(names)}."
        for title, names in (
            ("missing", missing),
            ("of another shape", wrong),
            ("not part of it", foreign),
            ("without a place in it", lost),
            ("of another image size, which timm would resize", resized),
            ("moved behind the pooling, which is another network", moved),
        )
        if names
    ]
    if lines:
        raise CheckpointError(" ".join(lines))
    result = {}
    for key, value in expected.items():
        found = state.get(key)
        if found is None:
            found = torch.zeros((), dtype=torch.long)
        result[key] = checked_weight(found.detach(), value, f"the tensor {key}")
    return result, [key for key in own if key not in used and key not in state]


def _used(own: State, model: Any, convert: Callable[[State, Any], State]) -> set[str]:
    """Return the floating-point tensors that any of the converter's outputs depend on, by differentiating through it."""
    marks = {key: torch.ones((), requires_grad=True) for key, value in own.items() if value.is_floating_point()}
    traced = {key: marks[key].expand(own[key].shape) if key in marks else own[key] for key in own}
    total = torch.zeros(())
    for number, value in enumerate(convert(traced, model).values()):
        if value.requires_grad:
            total = total + value.sum() * (1 + number / 7)
    if not total.requires_grad:
        return set()
    keys = list(marks)
    grads = torch.autograd.grad(total, [marks[key] for key in keys], allow_unused=True)
    return {key for key, grad in zip(keys, grads, strict=True) if grad is not None}


def _is_unused(key: str, own: Mapping[str, Any], heads: Sequence[str]) -> bool:
    is_text = any(other.startswith("visual.") for other in own) and not key.startswith("visual.")
    is_head = any(key == head or key.startswith(f"{head}.") for head in heads)
    return is_head or _UNUSED.fullmatch(key) is not None or (is_text and _TEXT.fullmatch(key) is not None)


def _is_resized(before: Tensor, after: Tensor) -> bool:
    """Whether a tensor under one name has another number of values, tokens beside a square grid aside."""
    if before.numel() == after.numel():
        return False
    if before.ndim == after.ndim == 3 and before.shape[2] == after.shape[2]:
        return int(before.shape[1] ** 0.5) != int(after.shape[1] ** 0.5)
    return True
