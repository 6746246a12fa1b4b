# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Resizes as the projects do them whose weights we take: needs torch and timm, not vit_jax."""

import warnings

import numpy as np

POSITIONS = (((14, 14), (24, 24)), ((9, 12), (7, 5)), ((3, 8), (16, 2)), ((1, 4), (4, 1)))
BIASES = (((7, 7), (12, 12)), ((12, 12), (7, 7)), ((4, 4), (8, 6)), ((1, 1), (3, 3)))
KERNELS = (((8, 8), (16, 16)), ((16, 16), (7, 7)), ((6, 4), (5, 9)), ((5, 5), (1, 1)))
PREFIX = 2


def references(seed):
    """Returns what goes in and what comes out of every resize, by name."""
    rng = np.random.default_rng(seed)
    arrays = {}
    with warnings.catch_warnings():  # timm's, of torch
        warnings.simplefilter("ignore")
        for i, (old, new) in enumerate(POSITIONS):
            table = _normal(rng, PREFIX + old[0] * old[1], 5)
            arrays[f"position/{i}"] = table
            arrays[f"position/{i}/bicubic"] = timm_positions(table, old, new)
            arrays[f"position/{i}/zoom"] = zoomed_positions(table, old, new)
        for i, (old, new) in enumerate(BIASES):
            table = _normal(rng, (2 * old[0] - 1) * (2 * old[1] - 1), 3)
            arrays[f"bias/{i}"] = table
            arrays[f"bias/{i}/bicubic"] = swin_biases(table, old, new)
            arrays[f"bias/{i}/geometric"] = timm_biases(table, new)
        for i, (old, new) in enumerate(KERNELS):
            kernel = _normal(rng, *old, 3, 4)
            arrays[f"kernel/{i}"] = kernel
            arrays[f"kernel/{i}/bicubic"] = timm_kernel(kernel, new)
            arrays[f"kernel/{i}/bilinear"] = timm_kernel(
                kernel, new, interpolation="bilinear", antialias=False
            )
    return arrays


def _normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def timm_positions(table, old, new):
    """timm's resample_abs_pos_embed."""
    import torch
    from timm.layers import resample_abs_pos_embed

    return resample_abs_pos_embed(
        torch.from_numpy(table)[None], list(new), list(old), num_prefix_tokens=PREFIX
    )[0].numpy()


def zoomed_positions(table, old, new):
    """The resize of vision_transformer and big_vision: scipy's zoom of order 1."""
    import scipy.ndimage

    grid = table[PREFIX:].reshape(*old, -1)
    grid = scipy.ndimage.zoom(grid, (new[0] / old[0], new[1] / old[1], 1), order=1)
    return np.concatenate([table[:PREFIX], grid.reshape(new[0] * new[1], -1)])


def swin_biases(table, old, new):
    """The resize of the Swin Transformer's own load_pretrained: torch's bicubic."""
    import torch

    heads = table.shape[1]
    image = torch.from_numpy(table).T.reshape(1, heads, 2 * old[0] - 1, 2 * old[1] - 1)
    size = (2 * new[0] - 1, 2 * new[1] - 1)
    resized = torch.nn.functional.interpolate(image, size=size, mode="bicubic")
    return resized.reshape(heads, -1).T.numpy()


def timm_biases(table, new):
    """timm's resize_rel_pos_bias_table, of a square window."""
    import torch
    from timm.layers import resize_rel_pos_bias_table

    shape = ((2 * new[0] - 1) * (2 * new[1] - 1), table.shape[1])
    return resize_rel_pos_bias_table(torch.from_numpy(table), new, shape).numpy()


def timm_kernel(kernel, new, **options):
    """timm's resample_patch_embed; with plain bilinear it is big_vision's resample_patchemb."""
    import torch
    from timm.layers import resample_patch_embed

    theirs = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    return resample_patch_embed(theirs, list(new), **options).numpy().transpose(2, 3, 1, 0)
