"""What a model is asked about: raw media holds only the part of each frame that the model looks at."""

import numpy as np
import pytest
import simplejpeg

from pemt_tf.errors import PemtError
from pemt_tf.export.clip_request import _test_crop, decode_media, raw_media_of, record_of
from pemt_tf.features.frame_crops import plan_test_crop
from tests.media_files import write_video

SIZES = [(20, 20), (24, 24), (24, 31), (31, 24), (24, 97), (20, 33), (120, 160), (160, 213), (284, 160), (240, 426)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("crop", [20, 24])
def test_the_crop_is_that_of_the_graph(small_config, height, width, crop):
    geometry = small_config.with_overrides([f"geometry.test_crop={crop}"]).geometry if crop != 20 else None
    plan = plan_test_crop(height, width, geometry or small_config.geometry)
    rows, columns = _test_crop(height, width, crop)
    np.testing.assert_array_equal(rows[:, 0], plan.rows)
    np.testing.assert_array_equal(columns, plan.columns)


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (32, 32)])
def test_only_the_crop_is_sent(tmp_path, small_config, size):
    """Rows and columns of the stored picture by the formula of nearest resizing, in whole numbers."""
    geometry = small_config.geometry
    path = str(write_video(tmp_path / "clip.mp4", size=size))
    decoded = decode_media(path, geometry, None, None)
    media = raw_media_of(path, geometry)
    crop = geometry.test_crop
    assert media["frames"].shape == (1, geometry.segments, geometry.frames_per_segment, crop, crop, 3)
    short = min(decoded.height, decoded.width)
    whole = simplejpeg.decode_jpeg(decoded.jpegs[-1], "RGB", fastdct=True)

    def places(side):
        scaled = side * crop // short
        first = (scaled - crop + 1) // 2
        return [min(i * side // scaled, side - 1) for i in range(first, first + crop)]

    expected = whole[places(decoded.height)][:, places(decoded.width)]
    np.testing.assert_array_equal(media["frames"][0, -1, -1], expected)
    assert media["waveform"].shape == (1, geometry.segments, geometry.samples_per_segment)


@pytest.mark.parametrize(("modality", "lacking"), [("audio", "audio_codec"), ("visual", "video_codec")])
def test_a_file_without_the_models_modality_is_refused(tmp_path, small_config, modality, lacking):
    """The model would return zeros for it, which look like an embedding."""
    path = str(write_video(tmp_path / "clip.mp4", **{lacking: None}))
    with pytest.raises(PemtError, match=rf"clip\.mp4 has none of the model's modalities \({modality}\)"):
        record_of(path, small_config.geometry, modalities=(modality,))
    assert record_of(path, small_config.geometry)
