"""I-JEPA: from one part of an image, tell what a moving average of the encoder makes of others (Assran et al. 2023)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.errors import UsageError
from virb.networks.token_encoder import TokenEncoder, take
from virb.pretraining import initial, masks, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training.precision import widen

Norm = partial(nn.LayerNorm, eps=1e-6)
ASPECT, CONTEXT = (0.75, 1.5), (0.85, 1.0)


class Predictor(nn.Module):
    """Context tokens to the targets', block by block (Section 3, "Prediction")."""

    def __init__(self, encoder, width, depth, heads):
        super().__init__()
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.register_buffer("positions", initial.sin_cos(encoder.grid, width), persistent=False)
        self.blocks = nn.Sequential(*[Block(width, heads, qkv_bias=True, norm_layer=Norm) for _ in range(depth)])
        self.norm = Norm(width)
        self.project = nn.Linear(width, encoder.width)
        initial.truncated_normal(self)
        initial.shrink_with_depth(self.blocks)

    def forward(self, tokens, context, targets):
        """Return (N, n_targets, T, D) for tokens (N, K, D) at ``context`` (N, K) and places ``targets`` (N, n_targets, T)."""
        n, n_targets, n_places = targets.shape
        seen = self.embed(tokens) + self.positions[context]
        asked = self.mask_token + self.positions[targets.flatten(0, 1)]
        x = torch.cat([seen.repeat_interleave(n_targets, dim=0), asked.to(seen.dtype)], dim=1)
        x = self.norm(self.blocks(x)[:, -n_places:])
        return self.project(x).unflatten(0, (n, n_targets))


class IJEPA(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(TokenEncoder(encoder, setup.image_size), options, setup)
        pool = getattr(encoder, "pooling", None) or self.encoder.net.global_pool
        if pool != "avg" or not self.encoder.trains_all:
            raise UsageError(
                f"i-jepa trains patches and no class token, and {encoder.label} is read off {pool}; pass --arch-option "
                "pool=avg (of --arch vit also cls=0)."
            )
        initial.fix_positions(encoder)
        initial.shrink_with_depth(self.encoder.net.blocks)
        self.predictor = Predictor(
            self.encoder, options["predictor_dim"], options["predictor_depth"], options["predictor_heads"]
        )
        self.target = memory.MomentumCopy(self.encoder)
        self.view = views.view(options, setup, names="crop+jitter+gray+blur+solarize")

    def views(self, images, generator):
        options = self.options
        positions = masks.context_and_targets(
            len(images), self.encoder.grid, generator, n_targets=options["n_targets"],
            target_scale=(options["min_target"], options["max_target"]), target_aspect=ASPECT, context_scale=CONTEXT,
            least=options["min_keep"],
        )  # fmt: skip
        return [self.view(images, generator), *positions]

    def forward(self, views, batch, progress):
        image, context, targets = views
        features = widen(self.encoder.patches(self.target(image)))
        wanted = F.layer_norm(features, features.shape[-1:])
        wanted = take(wanted, targets.flatten(1)).unflatten(1, targets.shape[1:])
        tokens = self.encoder.patches(self.encoder(image, None, context))
        return Outcome(
            F.smooth_l1_loss(widen(self.predictor(tokens, context, targets)), wanted), features.flatten(0, 1)
        )

    def after_step(self, progress):
        first = self.options["momentum"]
        self.target.follow(self.encoder, first + (1 - first) * progress.done)

    def exported(self):
        return self.target.module.backbone


METHOD = Method(
    name="i-jepa",
    role="self-supervised",
    source="Assran et al. 2023, Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (CVPR)",
    learner=IJEPA,
    # Appendix A and the authors' configs/in1k_vith14_ep300.yaml (their loss is smooth L1, the paper's the squared distance):
    # AdamW .0002 to .001 in 40 of 300 epochs at 2048, then to 1e-6; weight decay .04 to .4.
    training=Training(
        "adamw", lr=0.001, batch_size=2048, epochs=300, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=40,
        warmup_lr=0.0002, final_lr=1e-6,
    ),
    options=(
        Option("momentum", 0.996, "of the target encoder at the start; it rises to 1 on a line", low=0.0, high=1.0),
        Option("n_targets", 4, "blocks to predict in an image", low=1),
        Option("min_target", 0.15, "smallest share of the patches in a block", low=0.0, high=1.0),
        Option("max_target", 0.2, "largest share", low=0.0, high=1.0),
        Option("min_keep", 10, "a context has more patches than this", low=0),
        Option("predictor_dim", 384, "width of the predictor", low=4),
        Option("predictor_depth", 12, "its blocks (the authors: 6 for ViT-B)", low=1),
        Option("predictor_heads", 12, "its heads", low=1),
        *views.options(min_crop=0.3, strength=0.0, gray_p=0.0),
    ),
)  # fmt: skip
