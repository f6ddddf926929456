"""MAE: from a quarter of an image's patches, tell the pixels of the others (He et al. 2022)."""

from __future__ import annotations

from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.errors import UsageError
from virb.networks.token_encoder import TokenEncoder
from virb.pretraining import initial, masks, patch_losses, views
from virb.pretraining.learner import Learner, Outcome

Norm = partial(nn.LayerNorm, eps=1e-6)


class Decoder(nn.Module):
    """Tokens of the shown patches to pixels of all (Section 3, "MAE decoder")."""

    def __init__(self, encoder, width, depth, heads):
        super().__init__()
        self.n_prefix = encoder.n_prefix
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, width), std=0.02))
        self.register_buffer("positions", initial.sin_cos(encoder.grid, width), persistent=False)
        self.blocks = nn.Sequential(*[Block(width, heads, qkv_bias=True, norm_layer=Norm) for _ in range(depth)])
        self.norm = Norm(width)
        self.predict = nn.Linear(width, 3 * encoder.patch**2)

    def forward(self, tokens, keep):
        x = self.embed(tokens)
        prefix, shown = x[:, : self.n_prefix], x[:, self.n_prefix :]
        every = self.mask_token.to(x.dtype).expand(len(x), len(self.positions), -1)
        every = every.scatter(1, keep[..., None].expand_as(shown), shown) + self.positions
        x = self.blocks(torch.cat([prefix, every], dim=1))
        return self.predict(self.norm(x[:, self.n_prefix :]))


class MAE(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(TokenEncoder(encoder, setup.image_size), options, setup)
        if not self.encoder.trains_all:
            raise UsageError(
                f"mae trains patches, and leaves what {encoder.label} has after them as it is; choose pool=token."
            )
        self.n_shown = int(self.encoder.n_patches * (1 - options["mask_ratio"]))
        if not 0 < self.n_shown < self.encoder.n_patches:
            raise UsageError(
                f"Option mask_ratio={options['mask_ratio']:g} shows {self.n_shown} of {self.encoder.n_patches} patches; "
                "expected some shown and some hidden."
            )
        self.decoder = Decoder(self.encoder, options["decoder_dim"], options["decoder_depth"], options["decoder_heads"])
        initial.fix_positions(encoder)
        initial.xavier(self)
        for token in (self.encoder.net.cls_token, self.encoder.net.reg_token):
            if token is not None:
                nn.init.normal_(token, std=0.02)
        self.view = views.view(options, setup)

    def views(self, images, generator):
        return [
            self.view(images, generator),
            masks.scattered(len(images), self.encoder.n_patches, self.n_shown, generator),
        ]

    def forward(self, views, batch, progress):
        image, keep = views
        predicted = self.decoder(self.encoder(image, None, keep), keep)
        hidden = torch.ones(predicted.shape[:2], dtype=torch.bool, device=keep.device).scatter_(1, keep, False)
        pixels = patch_losses.patchify(image, self.encoder.patch)
        return Outcome(patch_losses.masked_pixels(predicted, pixels, hidden, normalize=self.options["normalize"]))


METHOD = Method(
    name="mae",
    role="self-supervised",
    source="He, Chen, Xie, Li, Dollar, Girshick 2022, Masked Autoencoders Are Scalable Vision Learners (CVPR)",
    learner=MAE,
    # Table 8 and the authors' PRETRAIN.md: AdamW 1.5e-4 x batch / 256 at 4096, beta 2 of .95, weight decay .05, 40 of 800
    # epochs of warm-up.
    training=Training("adamw", lr=0.0024, batch_size=4096, epochs=800, weight_decay=0.05, warmup_epochs=40, beta2=0.95),
    options=(
        Option("mask_ratio", 0.75, "share of the patches that is hidden", low=0.0, high=1.0),
        Option("normalize", True, "the pixels of each patch are brought to mean 0 and variance 1"),
        Option("decoder_dim", 512, "width of the decoder", low=4),
        Option("decoder_depth", 8, "its blocks", low=1),
        Option("decoder_heads", 16, "its heads", low=1),
        *views.options(min_crop=0.2, strength=0.0, gray_p=0.0),
    ),
)
