"""Scaling, cropping and normalization of frames, as in the reference (docs/reference_model.md section 12).

A crop of a scaled frame is described by the source rows and columns it reads (`CropPlan`). The plan is applied to JPEGs
(decoding only the window it needs) and to raw frames (inside the exported graph) with the same result.
"""

from typing import NamedTuple

import tensorflow as tf

from pemt_tf.config import ClipGeometry

MEAN = 0.45
DEVIATION = 0.225
Scalar = tf.Tensor | int


class CropPlan(NamedTuple):
    """Source rows and columns of a crop: two int32 vectors of the crop's height and width.

    Rows ascend; columns ascend too, or descend in a mirrored crop.
    """

    rows: tf.Tensor
    columns: tf.Tensor


def normalize(frames: tf.Tensor) -> tf.Tensor:
    """uint8 or float frames in 0 to 255 to (x / 255 - 0.45) / 0.225, float32, any shape."""
    return (tf.cast(frames, tf.float32) / 255.0 - MEAN) / DEVIATION


def nearest_index(size_in: tf.Tensor, size_out: tf.Tensor) -> tf.Tensor:
    """[size_out] int32: the source index of every target index for nearest resizing, min(floor(i * in / out), in - 1).

    In float32. TensorFlow's own nearest resize samples at half-pixel centres and differs.
    """
    ratio = tf.cast(size_in, tf.float32) / tf.cast(size_out, tf.float32)
    index = tf.cast(tf.floor(tf.cast(tf.range(size_out), tf.float32) * ratio), tf.int32)
    return tf.minimum(index, tf.cast(size_in, tf.int32) - 1)


def scaled_size(height: Scalar, width: Scalar, short_side: Scalar) -> tuple[tf.Tensor, tf.Tensor]:
    """Size after scaling the short side to `short_side`; the long side is rounded down. Scalars, int32."""
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    scaled = tf.floor(tf.cast(long, tf.float64) / tf.cast(short, tf.float64) * tf.cast(short_side, tf.float64))
    scaled_long = tf.where(short == short_side, long, tf.cast(scaled, tf.int32))
    portrait = height > width
    return tf.where(portrait, scaled_long, short_side), tf.where(portrait, short_side, scaled_long)


def plan_crop(
    height: Scalar, width: Scalar, short_side: Scalar, crop: int, top: Scalar | None = None, left: Scalar | None = None
) -> CropPlan:
    """Plans a square crop of a frame whose short side is first scaled to `short_side`, at least `crop`; int32 scalars.

    `top` and `left` are the offset in the scaled frame; None centres, as the reference rounds (up).
    """
    height, width, short_side = (tf.convert_to_tensor(x, tf.int32) for x in (height, width, short_side))
    scaled_height, scaled_width = scaled_size(height, width, short_side)
    top = (scaled_height - crop + 1) // 2 if top is None else top
    left = (scaled_width - crop + 1) // 2 if left is None else left
    rows = tf.where(scaled_height == height, tf.range(scaled_height), nearest_index(height, scaled_height))
    columns = tf.where(scaled_width == width, tf.range(scaled_width), nearest_index(width, scaled_width))
    rows, columns = rows[top : top + crop], columns[left : left + crop]
    return CropPlan(tf.ensure_shape(rows, [crop]), tf.ensure_shape(columns, [crop]))


def plan_test_crop(height: Scalar, width: Scalar, geometry: ClipGeometry) -> CropPlan:
    """The centre crop of evaluation and serving: the short side is scaled to the crop's side."""
    return plan_crop(height, width, geometry.test_crop, geometry.test_crop)


def plan_test_crops(height: Scalar, width: Scalar, geometry: ClipGeometry) -> list[CropPlan]:
    """The crops of multi-view testing: at the start, the centre and the end of the longer side.

    As `plan_test_crop`, the short side is scaled to the crop's side, so that a crop spans it whole.
    """
    height, width = (tf.convert_to_tensor(x, tf.int32) for x in (height, width))
    size = geometry.test_crop
    scaled_height, scaled_width = scaled_size(height, width, tf.constant(size))
    last = (scaled_height - size, scaled_width - size)  # one of the two is 0
    return [
        plan_crop(height, width, size, size, 0, 0),
        plan_test_crop(height, width, geometry),
        plan_crop(height, width, size, size, *last),
    ]


def plan_train_crop(height: Scalar, width: Scalar, geometry: ClipGeometry, seed: tf.Tensor) -> CropPlan:
    """A random scale and a random position, for all frames of a clip; they follow from the seed, [2] int32."""
    draws = tf.random.stateless_uniform([3], seed)
    low, high = geometry.train_scale
    short_side = tf.cast(tf.round(low + (high - low) * draws[0]), tf.int32)
    size = geometry.train_crop
    scaled_height, scaled_width = scaled_size(height, width, short_side)

    def offset(draw: tf.Tensor, scaled: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.floor(draw * tf.cast(tf.maximum(scaled - size, 1), tf.float32)), tf.int32)

    return plan_crop(height, width, short_side, size, offset(draws[1], scaled_height), offset(draws[2], scaled_width))


def crop_frames(frames: tf.Tensor, plan: CropPlan) -> tf.Tensor:
    """Applies a plan to raw frames [..., height, width, 3]; returns [..., crop, crop, 3] of the same dtype."""
    rows = tf.gather(frames, plan.rows, axis=-3)
    return tf.gather(rows, plan.columns, axis=-2)


def window(plan: CropPlan, width: tf.Tensor) -> tf.Tensor:
    """The part of a frame that must be decoded for a plan: top, left, height and width, [4] int32.

    It is one column wider on either side than the plan needs: colour is stored at half resolution and interpolated
    from both neighbours, which the outermost columns of a window lack. With it the result is exactly that of decoding
    the whole frame.
    """
    first, last = tf.minimum(plan.columns[0], plan.columns[-1]), tf.maximum(plan.columns[0], plan.columns[-1])
    left, right = tf.maximum(first - 1, 0), tf.minimum(last + 1, width - 1)
    return tf.stack([plan.rows[0], left, plan.rows[-1] - plan.rows[0] + 1, right - left + 1])


def decode_crop(jpegs: tf.Tensor, plan: CropPlan) -> tf.Tensor:
    """Decodes only the window of each JPEG that a plan reads, see `decode_crops`: [frames, crop, crop, 3] uint8."""
    return decode_crops(jpegs, [plan])[0]


def decode_crops(jpegs: tf.Tensor, plans: list[CropPlan]) -> tf.Tensor:
    """[plans, frames, crop, crop, 3] uint8: decodes only the window of each JPEG that the plans read, once for all.

    A frame may occur many times in a clip, because segments overlap in short videos; it is decoded once. All JPEGs have
    one size, and so have the crops.
    """
    part = window(_around(plans), tf.image.extract_jpeg_shape(jpegs[0])[1])
    inside = [CropPlan(plan.rows - part[0], plan.columns - part[1]) for plan in plans]

    def decode(jpeg: tf.Tensor) -> tf.Tensor:
        frame = tf.image.decode_and_crop_jpeg(jpeg, part, channels=3)
        return tf.stack([crop_frames(frame, plan) for plan in inside])

    different, places = tf.unique(jpegs)
    frames = tf.gather(tf.map_fn(decode, different, fn_output_signature=tf.uint8), places)
    frames = tf.ensure_shape(frames, [None, len(plans), plans[0].rows.shape[0], plans[0].columns.shape[0], 3])
    return tf.transpose(frames, [1, 0, 2, 3, 4]) if len(plans) > 1 else frames[None, :, 0]


def _around(plans: list[CropPlan]) -> CropPlan:
    """The first and last row and column that any of the plans reads."""
    if len(plans) == 1:
        return plans[0]
    sides = (tf.concat(positions, axis=0) for positions in zip(*plans, strict=True))
    return CropPlan(*(tf.stack([tf.reduce_min(side), tf.reduce_max(side)]) for side in sides))
