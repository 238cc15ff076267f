"""tf.data pipelines from records to batches of clips.

Everything random follows from a seed and the position in the stream, so that a run can resume at any step and see
exactly the clips, crops and masks that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.clip_stream import WantedClips, found_clips, read_clips, shuffled_clips
from pemt_tf.data.damage import READ_ERRORS, UnreadableClipsError, naming_damage, plain_cause
from pemt_tf.data.share import EVERYTHING, Share
from pemt_tf.features import augment, frame_crops

_MOST_KEPT = 2**30  # bytes of records
_AS_THE_AUTHORS = AugmentationConfig()


def training_clips(
    source: ClipSource,
    split: str,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    labelled: bool = False,
    streams: tuple[str, ...] = (),
    only: frozenset[str] | None = None,
    augmentation: AugmentationConfig = _AS_THE_AUTHORS,
    mixup: float = 0.0,
    share: Share = EVERYTHING,
) -> tf.data.Dataset:
    """An endless stream of augmented training batches.

    Args:
        source: the records.
        split: usually `train`.
        batch_size: clips per batch (all replicas together).
        seed: of order and augmentation; TensorFlow mixes its global seed into the order.
        start_step: batches to pass over. That costs nothing where the files are local and not compressed; else their
            records are read, but not decoded.
        labelled: leave out clips without a label.
        streams: leave out clips that lack one of these; modalities by name.
        only: leave out all clips but these, by id.
        augmentation: of the spectrograms.
        mixup: alpha of the weights with which clips will be mixed; 0 for none.
        share: of a worker among several; the rows of the others are not decoded. Batches are then those of one device
            after the other.

    Returns:
        Dicts of `frames` [batch, segments, frames, crop, crop, 3] uint8, `log_mel` [batch, segments, mel_bins,
        mel_frames, 1] float32, `visual_mask`, `audio_mask` [batch, segments] float32, `label` [batch] int64 (-1: none),
        `id`, `path` [batch] string, `start`, `end` [batch] float32 seconds; with `mixup` also
        `mixup_weight` [batch] float32.

    Raises:
        PemtError: no clip of the split is of the asked kind.
    """
    geometry = source.geometry
    source.require_readable(split)
    asked_for = len(only) if only is not None else source.labelled.get(split) if labelled else None
    few = asked_for is not None and source.are_few(split, asked_for, _MOST_KEPT)
    wanted = WantedClips(labelled, streams, only, few)
    place = start_step * batch_size
    own = share.rows(batch_size)
    if source.can_seek:
        clips = found_clips(source, split, seed, wanted, place, own, batch_size)
    else:
        clips = read_clips(source, split, seed, wanted)
        if next(read_batches(clips.take(1), source, split), None) is None:
            raise wanted.nothing(source, split)
        clips = shuffled_clips(clips, seed, wanted, place, own, batch_size)

    def decode(index, clip):
        clip_seed = tf.stack([seed, tf.cast(index % 2**31, tf.int32)])
        weight = {"mixup_weight": augment.mixup_weight(clip_seed + [5, 0], mixup)} if mixup else {}
        return {**decode_for_training(clip, geometry, clip_seed, augmentation), **_about(clip), **weight}

    clips = clips.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return clips.batch(share.size(batch_size), drop_remainder=True).prefetch(2)


def read_batches(clips: Iterable, source: ClipSource | None = None, split: str = "") -> Iterator:
    """Goes through batches of clips.

    Args:
        clips: the batches.
        source, split: where the clips are from, to name the damaged record; without them `naming_damage` can be used.

    Raises:
        PemtError: a record or a picture in it is damaged.
    """
    if source is not None:
        with naming_damage(source, split):
            yield from read_batches(clips)
        return
    batches = iter(clips)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except READ_ERRORS as error:
            cause = plain_cause(error)
            raise UnreadableClipsError(f"the clips cannot be read ({cause}); preprocess the videos again") from None
        yield batch


def evaluation_clips(
    source: ClipSource, split: str, batch_size: int, labelled: bool = False, crops: int = 1
) -> tf.data.Dataset:
    """Every clip of a split once, in order, with the crops of evaluation; the last batch may be smaller.

    Args:
        source: the records.
        split: which clips.
        batch_size: clips per batch.
        labelled: leave out clips without a label.
        crops: 1, the centre; 3, as `decode_for_evaluation` describes.
    """
    geometry = source.geometry
    source.require_readable(split)
    clips = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression)
    clips = clips.map(source.parse, num_parallel_calls=tf.data.AUTOTUNE)
    if labelled:
        clips = clips.filter(lambda clip: clip["label"] >= 0)
    clips = clips.map(
        lambda clip: {**decode_for_evaluation(clip, geometry, crops), **_about(clip)},
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return clips.batch(batch_size).prefetch(2)


def decode_for_evaluation(clip: dict[str, tf.Tensor], geometry: ClipGeometry, crops: int = 1) -> dict[str, tf.Tensor]:
    """The streams of one parsed clip with the centre crop; also used inside the exported graph.

    Args:
        clip: from `records.parse`.
        geometry: of the records.
        crops: 1, the centre; 3, the start, centre and end of the longer side: then `frames` has one axis more, in
            front, [3, segments, ...].

    Returns:
        `frames` [segments, frames, crop, crop, 3] uint8, `log_mel` [segments, mel_bins, mel_frames, 1] float32,
        `visual_mask`, `audio_mask` [segments] float32.
    """

    def frames() -> tf.Tensor:
        size = (clip["height"], clip["width"])
        if crops == 1:
            return frame_crops.decode_crop(clip["jpegs"], frame_crops.plan_test_crop(*size, geometry))
        return frame_crops.decode_crops(clip["jpegs"], frame_crops.plan_test_crops(*size, geometry))

    lead = () if crops == 1 else (crops,)
    return _streams(clip, geometry, geometry.test_crop, frames, clip["log_mel"], lead)


def decode_for_training(
    clip: dict[str, tf.Tensor],
    geometry: ClipGeometry,
    seed: tf.Tensor,
    augmentation: AugmentationConfig = _AS_THE_AUTHORS,
) -> dict[str, tf.Tensor]:
    """As `decode_for_evaluation`, with a random crop, flip and spectrogram that follow from a [2] int32 seed."""

    def frames() -> tf.Tensor:
        plan = frame_crops.plan_train_crop(clip["height"], clip["width"], geometry, seed)
        # The column numbers are mirrored in the place of the pictures: reading them backwards costs nothing.
        columns = augment.random_flip(plan.columns[None, :, None], seed + [1, 0])[0, :, 0]
        return frame_crops.decode_crop(clip["jpegs"], frame_crops.CropPlan(plan.rows, columns))

    return _streams(clip, geometry, geometry.train_crop, frames, _augment_sound(clip, seed, augmentation))


def _augment_sound(clip: dict, seed: tf.Tensor, augmentation: AugmentationConfig) -> tf.Tensor:
    """Gain and roll first: a mask is 0.0 whatever the loudness, and whole wherever it is. What is absent stays 0."""
    log_mel = clip["log_mel"]
    if augmentation.gain_db:
        louder = augment.random_gain(log_mel, seed + [3, 0], augmentation.gain_db)
        log_mel = tf.where(clip["has_audio"], louder, log_mel)
    if augmentation.time_roll:
        log_mel = augment.random_time_roll(log_mel, seed + [4, 0], augmentation.time_roll)
    return augment.random_spectrogram_masks(log_mel, seed + [2, 0], augmentation.mask_share, augmentation.mask_count)


def _streams(
    clip: dict, geometry: ClipGeometry, crop: int, decode, log_mel: tf.Tensor, lead: tuple[int, ...] = ()
) -> dict[str, tf.Tensor]:
    """`decode` gives [*lead, segments * frames, crop, crop, 3]."""
    count, segments = geometry.segments * geometry.frames_per_segment, geometry.segments
    frames = tf.cond(clip["has_video"], decode, lambda: tf.zeros([*lead, count, crop, crop, 3], tf.uint8))
    return {
        "frames": tf.reshape(frames, [*lead, segments, geometry.frames_per_segment, crop, crop, 3]),
        "log_mel": log_mel[..., None],
        "visual_mask": tf.fill([segments], tf.cast(clip["has_video"], tf.float32)),
        "audio_mask": tf.fill([segments], tf.cast(clip["has_audio"], tf.float32)),
    }


def _about(clip: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: clip[name] for name in ("label", "id", "path", "start", "end")}


def model_inputs(batch: dict[str, tf.Tensor], modalities: tuple[str, ...], masks: bool = True) -> dict[str, tf.Tensor]:
    """What the model takes of a batch: normalized frames, spectrograms and masks, of its modalities only.

    Args:
        batch: as the pipelines above give it; frames are uint8.
        modalities: of the model.
        masks: pass the masks on; without them every stream is taken to be there.
    """
    inputs = {}
    if "visual" in modalities:
        inputs["frames"] = frame_crops.normalize(batch["frames"])
    if "audio" in modalities:
        inputs["log_mel"] = batch["log_mel"]
    if masks:
        inputs |= {f"{modality}_mask": batch[f"{modality}_mask"] for modality in modalities}
    return inputs
