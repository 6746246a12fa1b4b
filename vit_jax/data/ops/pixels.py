# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Functions of pixel values on uint8 images `[h, w, c]`, with Pillow's results.

The policies and the colour ops are made of these. Strengths may be numbers or scalar tensors.
"""

from vit_jax.data.tensorflow import import_tensorflow


def to_bytes(values):
    """Returns float values as uint8, cut to [0, 255] and truncated, as Pillow does."""
    tf = import_tensorflow()
    return tf.cast(tf.clip_by_value(values, 0, 255), tf.uint8)


def luma(image):
    """Returns the brightness `[h, w, 1]` by ITU-R 601-2; a grey image is its own."""
    tf = import_tensorflow()
    if image.shape[-1] == 1:
        return image
    weights = tf.constant([[19595.0], [38470.0], [7471.0]]) / 65536  # exact in float32
    shape = tf.shape(image)
    flat = tf.matmul(tf.reshape(tf.cast(image, tf.float32), [-1, 3]), weights)
    return tf.cast(tf.reshape(flat + 0.5, [shape[0], shape[1], 1]), tf.uint8)


def grey(image):
    """Returns the image without colour, in as many channels."""
    return import_tensorflow().tile(luma(image), [1, 1, image.shape[-1]])


def blend(base, image, factor):
    """Returns base + factor * (image - base); factors beyond [0, 1] extrapolate.

    Both are `[h, w, 1 or c]` or scalars, of any number type.
    """
    tf = import_tensorflow()
    base, image = tf.cast(base, tf.float32), tf.cast(image, tf.float32)
    return to_bytes(base + factor * (image - base))


def brightness(image, factor):
    """0 is black, 1 the image."""
    return blend(0, image, factor)


def contrast(image, factor):
    """0 is the mean grey, 1 the image."""
    tf = import_tensorflow()
    mean = tf.reduce_mean(tf.cast(luma(image), tf.float32))
    return blend(tf.floor(mean + 0.5), image, factor)


def colour(image, factor):
    """0 is grey, 1 the image."""
    return blend(luma(image), image, factor)


def sharpness(image, factor):
    """0 is smoothed by a 3x3 kernel (centre 5, others 1), 1 the image; the outermost stay."""
    tf = import_tensorflow()
    values = tf.cast(image, tf.float32)
    mean = tf.nn.avg_pool2d(values[None], ksize=3, strides=1, padding="VALID")[0]
    inner = values[1:-1, 1:-1]
    smooth = tf.floor((9 * mean + 4 * inner) / 13 + 0.5)
    sharpened = tf.pad(smooth - inner, [[1, 1], [1, 1], [0, 0]])
    return to_bytes(values + (1 - factor) * sharpened)


def invert(image):
    """Returns 255 - image."""
    return 255 - image


def posterize(image, bits):
    """Keeps the `bits` highest bits of every value; 8 or more keep all."""
    tf = import_tensorflow()
    dropped = 8 - tf.clip_by_value(tf.cast(bits, tf.int32), 0, 8)
    mask = tf.bitwise.left_shift(255, dropped) % 256
    return tf.bitwise.bitwise_and(image, tf.cast(mask, tf.uint8))


def solarize(image, threshold):
    """Inverts the values at or above the threshold."""
    tf = import_tensorflow()
    threshold = tf.cast(tf.math.ceil(tf.cast(threshold, tf.float32)), tf.int32)
    above = (image >= tf.cast(tf.minimum(threshold, 255), tf.uint8)) & (threshold < 256)
    # On bytes, arithmetic is several times faster than tf.where; x ^ 255 is 255 - x.
    return tf.bitwise.bitwise_xor(image, tf.cast(above, tf.uint8) * 255)


def solarize_add(image, amount):
    """Adds the amount to values below 128."""
    tf = import_tensorflow()
    amount = tf.cast(tf.minimum(amount, 255), tf.uint8)
    added = tf.minimum(image, 255 - amount) + amount - image
    return image + added * tf.cast(image < 128, tf.uint8)


def autocontrast(image):
    """Stretches every channel to the full range; a flat channel stays."""
    tf = import_tensorflow()
    values = tf.cast(image, tf.float64)
    low = tf.reduce_min(image, axis=(0, 1))
    high = tf.reduce_max(image, axis=(0, 1))
    flat = tf.cast(high == low, tf.float64)
    low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
    scale = flat + (1 - flat) * 255 / tf.maximum(high - low, 1)
    # Multiplied, added and truncated in the order that Pillow does it.
    return to_bytes(values * scale - low * scale * (1 - flat))


def equalize(image):
    """Flattens every channel's histogram, by Pillow's integer rule."""
    tf = import_tensorflow()
    channels = image.shape[-1]
    # One histogram over channel * 256 + value serves all channels.
    index = tf.cast(image, tf.int32) + 256 * tf.range(channels)
    counts = tf.math.bincount(tf.reshape(index, [-1]), minlength=256 * channels)
    counts = tf.reshape(counts, [channels, 256])
    total = tf.reduce_sum(counts, axis=1, keepdims=True)
    highest = 255 - tf.argmax(counts[:, ::-1] > 0, axis=1, output_type=tf.int32)
    step = (total - tf.gather(counts, highest, batch_dims=1)[:, None]) // 255
    before = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((step // 2 + before) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, table, tf.range(256))
    return tf.gather(tf.cast(tf.reshape(table, [-1]), tf.uint8), index)


def gaussian_blur(image, sigma, radius: int):
    """Convolves with a Gaussian of that sigma in pixels, cut at `radius`; the edge is repeated."""
    tf = import_tensorflow()
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.nn.softmax(-(offsets**2) / (2 * sigma**2))[:, None, None, None]
    kernel = tf.tile(kernel, [1, 1, image.shape[-1], 1])
    for axis in (0, 1):
        length = tf.shape(image)[axis]
        rows = tf.clip_by_value(tf.range(-radius, length + radius), 0, length - 1)
        image = tf.gather(image, rows, axis=axis)
    values = tf.cast(image, tf.float32)[None]
    for one_way in (kernel, tf.transpose(kernel, [1, 0, 2, 3])):
        values = tf.nn.depthwise_conv2d(values, one_way, [1, 1, 1, 1], "VALID")
    return tf.cast(tf.round(values[0]), tf.uint8)


def shift_hue(image, turn):
    """Turns the hue by that part of the colour circle; a grey image has none."""
    return image if image.shape[-1] == 1 else import_tensorflow().image.adjust_hue(image, turn)
