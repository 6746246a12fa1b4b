# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Look inside
#
# Attention, positions, receptive fields: what a model that was trained has become, as arrays and as figures.
# Needs an installed vit_jax (`make install`), no network and no accelerator; takes half a minute on two cores.
#
# The model is a tiny ViT with a class token and learned positions that sees handwritten digits for some seconds, which is
# enough to see something happen and not enough for the papers' figures. `vit-jax inspect CHECKPOINT IMAGES... --to=DIR` draws
# all of this and more of any checkpoint; [docs/inspection.md](../docs/inspection.md) says what each figure means.

# %%
# %matplotlib inline
import logging
import pathlib
import tempfile

import jax
import numpy as np

import vit_jax
from vit_jax import config as configuration
from vit_jax.inspection import (
    attention,
    drawing,
    features,
    geometry,
    look,
    memory,
    positions,
    receptive,
)
from vit_jax.models import init_variables
from vit_jax.training import loop, trained

logging.getLogger("absl").setLevel(logging.ERROR)
root = pathlib.Path.cwd()
root = root if (root / "configs").is_dir() else root.parent
workdir = pathlib.Path(tempfile.mkdtemp())
config = configuration.load(
    str(root / "configs/digits.py"),
    [
        "--config.model.overrides.pool=cls",
        "--config.model.overrides.position=learned",
        "--config.model.overrides.depth=2",
        "--config.model.overrides.width=32",
        "--config.model.overrides.mlp_dim=64",
        "--config.data.train_ops=decode|resize(8)|random_crop(8, padding=1)|normalise(half)",
        "--config.mixing.mixup_alpha=0",
        "--config.optimiser.learning_rate=5e-3",
        "--config.train.duration=15 epochs",
        "--config.schedule.warmup=2 epochs",
        "--config.evaluation.every=15 epochs",
        "--config.checkpoint.every=15 epochs",
        "--config.log.tensorboard=False",
        "--config.log.pictures=False",
    ],
)
loop.train(config, workdir)["test"]["accuracy"]

# %% [markdown]
# ## One forward pass
#
# `collect` returns the features and attention maps of every block. It takes any model with its parameters.

# %%
run = trained.load(workdir)
files = sorted((root / "docs/digits").glob("*.png"))
pictures = np.stack([run.ops.host({"image": path.read_bytes()})["image"].numpy() for path in files])
inside = look.collect(run.model, run.params, run.ops.device(pictures))
{name: found.shape for name, found in (inside.features | inside.maps).items()}

# %% [markdown]
# ## What the class token looks at
#
# A row a picture: attention rollout through all blocks (Abnar and Zuidema, 2020), then the heads of the last block. Row 0 of a
# map is the class token's; its weights on the patches go back to where the patches lie.

# %%
blocks = geometry.blocks(run.model.spec)
last = blocks[-1]
rollout = attention.rollout_of_answer(run.model.spec, inside.maps, last)
heads = attention.over_picture(inside.maps[last.name][:, :, 0], last)
rows = [
    [picture, *(drawing.overlay(picture, weights) for weights in (rollout[i], *heads[i]))]
    for i, picture in enumerate(pictures)
]
names = ["picture", "rollout", *(f"head {i}" for i in range(last.heads))]
drawing.tiles(rows, column_names=names)

# %% [markdown]
# ## How far heads look
#
# Mean attention distance in pixels against depth (ViT paper, figure 7). Attention that is the same everywhere looks 4.0 pixels
# far on a grid of 4 x 4 patches of 2 pixels.

# %%
far = {block.name: attention.mean_distance(inside.maps[block.name], block) for block in blocks}
same = np.full((1, 1, last.tokens, last.tokens), 1 / last.tokens)
uniform = float(attention.mean_distance(same, last)[0])
drawing.distances(far, dict.fromkeys(far, uniform))

# %% [markdown]
# ## Positions
#
# Each tile is the cosine between one patch's position embedding and all others. In training neighbours become alike.

# %%
similarity = positions.similarity(positions.table(run.model.spec, run.params))
drawing.positions(similarity)

# %% [markdown]
# ## Features as colours
#
# The first three principal components of a block's features, over all pictures: places that the block tells apart differ in
# colour.

# %%
colours = {b.name: features.colours(inside.feature_map(b.name)) for b in blocks}
shown = [
    [picture, *((255 * found[i]).astype("uint8") for found in colours.values())]
    for i, picture in enumerate(pictures)
]
drawing.tiles(shown, column_names=["picture", *(name.replace("_0", " ") for name in colours)])

# %% [markdown]
# ## Receptive fields by family
#
# Which pixels the middle of a map answers to, from left to right through the blocks: with random parameters, so this is what
# the architectures are born with. A convolution sees a little more with each block, a window all of itself at once, patches
# that attend or mix see everything from the first block on.

# %%
SHAPES = {
    "ResNet": (
        "resnet18",
        {"depths": (4,), "width": 16, "root": "3x3"},
    ),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 1, "width": 16, "depths": (4,), "num_heads": (2,), "window_size": 4},
    ),
    "ViT": (
        "vit_tiny_patch16_224",
        {"patch_size": 2, "width": 16, "depth": 4, "num_heads": 2, "mlp_dim": 32},
    ),
    "Mixer": (
        "mixer_s16_224",
        {"patch_size": 2, "width": 16, "depth": 4, "token_mlp_dim": 16, "channel_mlp_dim": 32},
    ),
}
rng = np.random.default_rng(0)
noise = rng.normal(size=(8, 16, 16, 3)).astype("float32")
fields = {}
for name, (model_name, shape) in SHAPES.items():
    model = vit_jax.create_model(model_name, 2, image_size=16, **shape)
    shapes = jax.eval_shape(
        lambda model=model: init_variables(model, jax.random.key(0), noise.shape[1:])
    )
    params, statistics = jax.tree.map(
        lambda s: rng.normal(0, 0.3, s.shape).astype("float32"), shapes
    )
    variables = {"params": params, **jax.tree.map(np.abs, statistics)}
    fields[name] = receptive.of_model(model, variables, noise)

# %%
drawing.tiles(
    [[drawing.heat(np.sqrt(field)) for field in found.values()] for found in fields.values()],
    row_names=list(fields),
    column_names=["stem", *(f"block {i}" for i in range(4))],
)

# %%
drawing.reaches(
    {
        name: {i / (len(found) - 1): receptive.spread(f) for i, f in enumerate(found.values())}
        for name, found in fields.items()
    }
)

# %% [markdown]
# ## What attention takes of memory
#
# Over the pixels of a 128 x 128 picture, 48 layers of 16 heads would have 768 GiB of maps in float32; over patches of 16 x 16
# it is some MiB; in windows it grows with the picture's area instead of its square. `vit-jax models --attention-memory` prints
# the table for all models.

# %%
gib = memory.pixel_attention_bytes(128, layers=48, heads=16) / 2**30
print(f"pixels: {gib:.0f} GiB")
[memory.row(name) for name in ("ViT-B/16", "Swin-B", "Mixer-B/16")]
