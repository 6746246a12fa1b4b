# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The Vision Transformer (Dosovitskiy et al., 2020, arXiv 2010.11929) and its common variations."""

import dataclasses
import functools
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.errors import UserError
from vit_jax.layers.attention import Attention, check_implementation
from vit_jax.layers.linear import Linear, lecun_normal, zeros
from vit_jax.layers.mlp import Mlp
from vit_jax.layers.norm import LayerNorm, LayerScale
from vit_jax.layers.patch import PatchEmbed, grid_size
from vit_jax.layers.pooling import AttentionPool
from vit_jax.layers.position import sincos_2d
from vit_jax.layers.regularisation import drop_path, dropout, linear_drop_path
from vit_jax.layers.stack import Noise, Stack
from vit_jax.models.catalogue import ModelInfo, register
from vit_jax.models.spec import ModelSpec

small_normal = nn.initializers.normal(1e-6)
table_normal = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTSpec(ModelSpec):
    """A Vision Transformer. The defaults are the paper's at fine-tuning.

    The paper's pre-training adds `pre_logits=width`; AugReg (arXiv 2106.10270) regularises with
    `dropout=0.1, drop_path=0.1`; big_vision's plain ViT (arXiv 2205.01580) is
    `pool="gap", position="sincos"`; ViT-22B-like training adds `qk_norm=True`.

    Attributes:
        pool: read the class token, average the patches, or attend to all tokens with a probe.
        class_token: None for "only where `pool` reads it".
        num_registers: learned tokens behind the class token, ignored by pooling over patches.
        position: a learned table or fixed sines and cosines (of the patches alone).
        no_embed_class: the learned table covers the patches, not the tokens before them.
        pre_norm: a norm ahead of the blocks, and patches without a bias (CLIP).
        norm_after_pool: the last norm follows the pooling instead of preceding it.
        pre_logits: width of a tanh layer ahead of the head, or None.
        layer_scale: initial gain of the residual branches, or None for no gains.
        position_dropout: rate on the embedded tokens; None for the same as `dropout`.
        attention: implementation, see `vit_jax.layers.attention.choose_implementation`.
    """

    patch_size: int
    width: int
    depth: int
    num_heads: int
    mlp_dim: int
    pool: Literal["cls", "gap", "map"] = "cls"
    class_token: bool | None = None
    num_registers: int = 0
    position: Literal["learned", "sincos"] = "learned"
    no_embed_class: bool = False
    pre_norm: bool = False
    norm_after_pool: bool = False
    pre_logits: int | None = None
    layer_scale: float | None = None
    qkv_bias: bool = True
    qk_norm: bool = False
    position_dropout: float | None = None
    attention_dropout: float = 0.0
    attention: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_implementation(self.attention)
        grid_size(*self.size, self.patch_size)
        if self.position == "sincos":
            sincos_2d(1, 1, self.width)
        if self.width % self.num_heads:
            raise UserError(f"width={self.width} is not divisible by num_heads={self.num_heads}")
        if self.pool == "cls" and self.class_token is False:
            raise UserError(
                "pool='cls' needs class_token=True; without one use pool='gap' or 'map'"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return grid_size(*self.size, self.patch_size)

    @property
    def has_class_token(self) -> bool:
        return self.pool == "cls" if self.class_token is None else self.class_token

    @property
    def positions_of_prefix(self) -> bool:
        """Whether the position table also covers the tokens ahead of the patches."""
        return self.position == "learned" and not self.no_embed_class

    @property
    def num_prefix(self) -> int:
        """Tokens ahead of the patches: class token, registers."""
        return int(self.has_class_token) + self.num_registers


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to its input: `[B, N, D]` to `[B, N, D]`."""

    spec: ViTSpec

    @nn.compact
    def __call__(self, x: jax.Array, noise: Noise, attention_maps: bool = False) -> Any:
        s = self.spec
        attention_key, path1, mlp_key, path2 = noise.split(4)
        norm = functools.partial(LayerNorm, s.norm_eps, **s.dtypes)
        attend = Attention(
            s.num_heads,
            qkv_bias=s.qkv_bias,
            qk_norm=s.qk_norm,
            norm_eps=s.norm_eps,
            attention_dropout=s.attention_dropout,
            dropout=s.dropout,
            implementation=s.attention,
            name="attn",
            **s.dtypes,
        )
        y = attend(norm(name="norm1")(x), attention_key, return_weights=attention_maps)
        y, weights = y if attention_maps else (y, None)
        x = x + drop_path(self._scaled(y, "ls1"), noise.drop_path_rate, path1)
        mlp = Mlp(
            s.mlp_dim, s.activation, s.dropout, bias_init=small_normal, name="mlp", **s.dtypes
        )
        y = mlp(norm(name="norm2")(x), mlp_key)
        return x + drop_path(self._scaled(y, "ls2"), noise.drop_path_rate, path2), weights

    def _scaled(self, y: jax.Array, name: str) -> jax.Array:
        s = self.spec
        return (
            y if s.layer_scale is None else LayerScale(s.layer_scale, s.param_dtype, name=name)(y)
        )


class ViT(nn.Module):
    """Images `[B, H, W, C]`, float and normalised, to logits `[B, classes]`, float32."""

    spec: ViTSpec

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        train: bool = False,
        features: bool = False,
        attention_maps: bool = False,
    ) -> Any:
        """Returns the logits, or the pooled features of a model without a head.

        Args:
            train: dropout and stochastic depth are on and draw from the rng "dropout".
            features: also return a dictionary with "stem" and "block_00", ... `[B, N, D]`, and
                "pre_logits" `[B, D]`, what the head reads.
            attention_maps: also return a dictionary with "block_00/attention", ... `[B, H, N, N]`,
                and "pool/attention" `[B, H, 1, N]` of a MAP head.
        """
        s = self.spec
        key = self.make_rng("dropout") if train and s.stochastic else None
        embed_key, stack_key = Noise(key).split(2)
        embed_dropout = s.dropout if s.position_dropout is None else s.position_dropout
        x = dropout(self._embed(images), embed_dropout, embed_key)
        found = {"stem": x} if features else {}
        rates = linear_drop_path(s.drop_path, s.depth)
        stack = Stack((functools.partial(Block, s),), s.depth, rates, s.scan, s.remat)
        nn.share_scope(self, stack)
        x, blocks = stack(x, stack_key, features=features, attention_maps=attention_maps)
        x, pooling = self._pool(x, attention_maps)
        if s.pre_logits is not None:
            layer = Linear((s.pre_logits,), kernel_init=lecun_normal, name="pre_logits", **s.dtypes)
            x = jnp.tanh(layer(x))
        x = x.astype(jnp.float32)
        found |= blocks | pooling | ({"pre_logits": x} if features else {})
        if s.num_classes:
            x = Linear((s.num_classes,), kernel_init=zeros, name="head", **s.head_options)(x)
        return (x, found) if features or attention_maps else x

    def _embed(self, images: jax.Array) -> jax.Array:
        """Returns the tokens `[B, N, D]`: class token, registers, patches, with their positions."""
        s = self.spec
        embed = PatchEmbed(
            s.patch_size, s.width, use_bias=not s.pre_norm, name="patch_embed", **s.dtypes
        )
        x = embed(images)
        positions = self._positions(x.shape[1], x.shape[2])
        x = x.reshape(x.shape[0], -1, s.width)
        if not s.positions_of_prefix:
            x = x + positions
        prefix = self._prefix()
        x = jnp.concatenate([jnp.broadcast_to(prefix, (x.shape[0], *prefix.shape)), x], axis=1)
        if s.positions_of_prefix:
            x = x + positions
        return LayerNorm(s.norm_eps, name="pre_norm", **s.dtypes)(x) if s.pre_norm else x

    def _positions(self, rows: int, columns: int) -> jax.Array:
        """Returns the positions of the patches, or of all tokens, `[N, D]`."""
        s = self.spec
        if s.position == "sincos":
            return jnp.asarray(sincos_2d(rows, columns, s.width), s.dtype)
        if (rows, columns) != s.grid:
            fed = (rows * s.patch_size, columns * s.patch_size)
            raise UserError(
                f"images of {fed[0]}x{fed[1]} do not fit the position table of image_size="
                f"{s.image_size}; create the model with image_size={fed} or position='sincos'"
            )
        count = rows * columns + (s.num_prefix if s.positions_of_prefix else 0)
        table = self.param("pos_embed", table_normal, (count, s.width), s.param_dtype)
        return table.astype(s.dtype)

    def _prefix(self) -> jax.Array:
        """Returns the tokens ahead of the patches, `[0 or more, D]`: class token, registers."""
        s = self.spec
        tokens = [jnp.zeros((0, s.width), s.dtype)]
        if s.has_class_token:
            tokens += [self.param("cls_token", zeros, (1, s.width), s.param_dtype)]
        if s.num_registers:
            shape = (s.num_registers, s.width)
            tokens += [self.param("reg_tokens", table_normal, shape, s.param_dtype)]
        return jnp.concatenate([t.astype(s.dtype) for t in tokens])

    def _pool(self, x: jax.Array, attention_maps: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the pooled tokens `[B, D]`, and the attention map of a MAP head if asked for."""
        s = self.spec
        norm = LayerNorm(s.norm_eps, name="norm", **s.dtypes)
        x = x if s.norm_after_pool else norm(x)
        maps: dict[str, jax.Array] = {}
        if s.pool == "map":
            pool = AttentionPool(
                s.num_heads,
                s.mlp_dim,
                s.activation,
                s.norm_eps,
                bias_init=small_normal,
                name="pool",
                **s.dtypes,
            )
            if attention_maps:
                x, maps["pool/attention"] = pool(x, return_weights=True)
            else:
                x = pool(x)
        elif s.pool == "gap":
            x = x[:, s.num_prefix :].mean(axis=1, dtype=jnp.float32).astype(s.dtype)
        else:
            x = x[:, 0]
        return (norm(x) if s.norm_after_pool else x), maps


# Width, depth, heads, MLP width, short name, patch sizes. From the paper (B, L, H), AugReg
# (Ti, S), Scaling ViTs (g, G: arXiv 2106.04560), Getting ViT in Shape (So400m: arXiv 2305.13035).
SIZES = {
    "tiny": (192, 12, 3, 768, "Ti", (8, 14, 16, 32)),
    "small": (384, 12, 6, 1536, "S", (8, 14, 16, 32)),
    "base": (768, 12, 12, 3072, "B", (8, 14, 16, 32)),
    "large": (1024, 24, 16, 4096, "L", (8, 14, 16, 32)),
    "so400m": (1152, 27, 16, 4304, "So400m", (14, 16)),
    "huge": (1280, 32, 16, 5120, "H", (14, 16)),
    "giant": (1408, 40, 16, 6144, "g", (14, 16)),
    "gigantic": (1664, 48, 16, 8192, "G", (14, 16)),
}


def _register_variants() -> None:
    for size, (width, depth, heads, mlp_dim, short, patches) in SIZES.items():
        for patch in patches:
            # 384 is not a multiple of 14, and 2304 tokens of 8 x 8 are nobody's recipe.
            for image in (224, 384) if patch in (16, 32) else (224,):
                alias = f"ViT-{short}/{patch}" + ("@384" if image == 384 else "")
                spec = ViTSpec(
                    image_size=image,
                    patch_size=patch,
                    width=width,
                    depth=depth,
                    num_heads=heads,
                    mlp_dim=mlp_dim,
                )
                name = f"vit_{size}_patch{patch}_{image}"
                crop = 0.9 if image == 224 else 1.0
                register(ModelInfo(name, "vit", ViT, spec, (alias,), crop_fraction=crop))


_register_variants()
