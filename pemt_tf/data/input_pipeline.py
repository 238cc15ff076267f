"""tf.data pipelines from records to batches of clips.

Everything random follows from a seed and the position in the stream, so that a run can resume at any step and see
exactly the clips, crops and masks that it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.clip_stream import EVERYTHING, WantedClips, WorkerShare, found_clips, read_clips, shuffled_clips
from pemt_tf.data.damage import READ_ERRORS, UnreadableClipsError, naming_damage, plain_cause
from pemt_tf.errors import PemtError
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
    share: WorkerShare = EVERYTHING,
    every_label: bool = False,
    balanced: bool = False,
) -> tf.data.Dataset:
    """An endless stream of augmented training batches.

    Args:
        source: the records.
        split: name of the split, usually `train`.
        batch_size: clips per batch (all replicas together).
        seed: random seed for order and augmentation; TensorFlow mixes its global seed into the order.
        start_step: number of batches to skip. Skipping costs nothing in local files without compression; in others the
            records are read, but not decoded.
        labelled: whether to exclude clips without a label.
        streams: modalities that a clip must have.
        only: ids to choose from; None for all.
        augmentation: settings for the spectrograms.
        mixup: alpha of the weights for mixing clips; 0 for none.
        share: a worker's rows; those of other workers are not decoded. Each batch is then that of one device.
        every_label: whether to give all labels of a clip, as `targets`; otherwise only the first counts.
        balanced: whether each class gives equally many clips; for labelled clips of local files without compression.

    Returns:
        Dicts of `frames` [batch, segments, frames, crop, crop, 3] uint8, `log_mel` [batch, segments, mel_bins,
        mel_frames, 1] float32, `visual_mask`, `audio_mask` [batch, segments] float32, `label` [batch] int64 (-1: none),
        `id`, `path` [batch] string, `start`, `end` [batch] float32 seconds; with `every_label` also
        `targets` [batch, classes] float32, 1 for each label of the clip; with `mixup` `mixup_weight` [batch] float32.

    Raises:
        PemtError: the split has no such clip.
    """
    geometry = source.geometry
    source.require_readable(split)
    asked_for = len(only) if only is not None else source.labelled.get(split) if labelled else None
    few = asked_for is not None and source.are_few(split, asked_for, _MOST_KEPT)
    wanted = WantedClips(labelled, streams, only, few, balanced, every_label)
    place = start_step * batch_size
    own = share.rows(batch_size)
    if source.can_seek:
        clips = found_clips(source, split, seed, wanted, place, own, batch_size)
    else:
        if balanced:
            raise PemtError(
                f"{source.name}: clips can be sampled by class from local files without compression only; copy them "
                "here, or set finetune.sampling=clips"
            )
        clips = read_clips(source, split, seed, wanted)
        if next(read_batches(clips.take(1), source, split), None) is None:
            raise wanted.nothing(source, split)
        clips = shuffled_clips(clips, seed, wanted, place, own, batch_size)

    def decode(index, clip):
        clip_seed = tf.stack([seed, tf.cast(index % 2**31, tf.int32)])
        weight = {"mixup_weight": augment.mixup_weight(clip_seed + [5, 0], mixup)} if mixup else {}
        about = _about(clip, source, every_label)
        return {**decode_for_training(clip, geometry, clip_seed, augmentation), **about, **weight}

    clips = clips.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return clips.batch(share.size(batch_size), drop_remainder=True).prefetch(2)


def read_batches(clips: Iterable, source: ClipSource | None = None, split: str = "") -> Iterator:
    """Iterates over batches of clips.

    Args:
        clips: the batches.
        source, split: origin of the clips, to name the damaged record; without them use `naming_damage`.

    Raises:
        PemtError: a record or a frame in it is damaged.
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
    source: ClipSource, split: str, batch_size: int, labelled: bool = False, crops: int = 1, every_label: bool = False
) -> tf.data.Dataset:
    """Every clip of a split once, in order, with the crops of evaluation; the last batch may be smaller.

    Args:
        source: the records.
        split: name of the split.
        batch_size: clips per batch.
        labelled: whether to exclude clips without a label.
        crops: 1, the centre; 3, see `decode_for_evaluation`.
        every_label: whether to give all labels of a clip too, as `targets` [batch, classes] float32.
    """
    geometry = source.geometry
    source.require_readable(split)
    clips = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression)
    clips = clips.map(source.parse, num_parallel_calls=tf.data.AUTOTUNE)
    if labelled:
        clips = clips.filter(lambda clip: clip["label"] >= 0)
    clips = clips.map(
        lambda clip: {**decode_for_evaluation(clip, geometry, crops), **_about(clip, source, every_label)},
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return clips.batch(batch_size).prefetch(2)


def decode_for_evaluation(clip: dict[str, tf.Tensor], geometry: ClipGeometry, crops: int = 1) -> dict[str, tf.Tensor]:
    """Frames and spectrograms of one parsed clip with the centre crop; also used inside the exported graph.

    Args:
        clip: a clip from `records.parse`.
        geometry: clip geometry of the records.
        crops: 1, the centre; 3, the start, centre and end of the longer side: `frames` is then [3, segments, ...].

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
        # Mirror the column numbers instead of the frames: reading columns backwards costs nothing.
        columns = augment.random_flip(plan.columns[None, :, None], seed + [1, 0])[0, :, 0]
        return frame_crops.decode_crop(clip["jpegs"], frame_crops.CropPlan(plan.rows, columns))

    return _streams(clip, geometry, geometry.train_crop, frames, _augment_audio(clip, seed, augmentation))


def _augment_audio(clip: dict[str, tf.Tensor], seed: tf.Tensor, augmentation: AugmentationConfig) -> tf.Tensor:
    """Gain and roll come first, so that masks are 0.0 at any loudness and are not cut. Missing audio stays 0."""
    log_mel = clip["log_mel"]
    if augmentation.gain_db:
        louder = augment.random_gain(log_mel, seed + [3, 0], augmentation.gain_db)
        log_mel = tf.where(clip["has_audio"], louder, log_mel)
    if augmentation.time_roll:
        log_mel = augment.random_time_roll(log_mel, seed + [4, 0], augmentation.time_roll)
    return augment.random_spectrogram_masks(log_mel, seed + [2, 0], augmentation.mask_share, augmentation.mask_count)


def _streams(
    clip: dict[str, tf.Tensor],
    geometry: ClipGeometry,
    crop: int,
    decode: Callable[[], tf.Tensor],
    log_mel: tf.Tensor,
    lead: tuple[int, ...] = (),
) -> dict[str, tf.Tensor]:
    """`decode` gives [*lead, segments * frames, crop, crop, 3]."""
    count, segments = geometry.segments * geometry.frames_per_segment, geometry.segments
    frames = tf.cond(clip["has_video"], decode, lambda: tf.zeros([*lead, count, crop, crop, 3], tf.uint8))
    return {
        "frames": tf.reshape(frames, [*lead, segments, geometry.frames_per_segment, crop, crop, 3]),
        "log_mel": tf.expand_dims(log_mel, -1),
        "visual_mask": tf.fill([segments], tf.cast(clip["has_video"], tf.float32)),
        "audio_mask": tf.fill([segments], tf.cast(clip["has_audio"], tf.float32)),
    }


def _about(clip: dict[str, tf.Tensor], source: ClipSource, every_label: bool) -> dict[str, tf.Tensor]:
    about = {name: clip[name] for name in ("label", "id", "path", "start", "end")}
    return {**about, "targets": source.targets(clip)} if every_label else about


def model_inputs(batch: dict[str, tf.Tensor], modalities: tuple[str, ...], masks: bool = True) -> dict[str, tf.Tensor]:
    """The model's inputs from a batch: normalized frames, spectrograms and masks, of its modalities only.

    Args:
        batch: a batch from the pipelines above; frames are uint8.
        modalities: the model's modalities.
        masks: whether to pass the masks on; without them the model assumes that every modality is there.
    """
    inputs = {}
    if "visual" in modalities:
        inputs["frames"] = frame_crops.normalize(batch["frames"])
    if "audio" in modalities:
        inputs["log_mel"] = batch["log_mel"]
    if masks:
        inputs |= {f"{modality}_mask": batch[f"{modality}_mask"] for modality in modalities}
    return inputs
