import numpy as np
import pytest

from harness.models.audio import SAMPLE_RATE, draw_clip, log_mel, mel_filters


@pytest.mark.parametrize(("bands", "seconds"), [(80, 30), (80, 4), (128, 4)])
def test_features_are_whispers(bands, seconds):
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
    rng = np.random.default_rng(0)
    clips = [
        draw_clip(seconds, rng),
        draw_clip(seconds / 2, rng),
        draw_clip(seconds + 1, rng),
        rng.normal(0, 0.1, seconds * SAMPLE_RATE).astype(np.float32),
        np.zeros(1000, dtype=np.float32),
    ]
    for clip in clips:
        wanted = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="np").input_features[0]
        given = log_mel(clip, bands=bands, frames=seconds * 100)
        assert given.shape == wanted.shape == (bands, seconds * 100)
        assert given.dtype == np.float32
        assert np.abs(given - wanted).max() < 1e-3


def test_a_tone_is_loudest_in_its_band():
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    filters = mel_filters(80)
    for tone_hz in (300, 1000, 3000, 6000):
        features = log_mel(
            np.sin(2 * np.pi * tone_hz * time_s).astype(np.float32), bands=80, frames=100
        )
        centre_hz = np.argmax(filters[features[:, 50].argmax()]) * 40
        assert abs(centre_hz - tone_hz) < 0.08 * tone_hz + 40


def test_features_span_eight_decades_at_most():
    clip = draw_clip(2.0, np.random.default_rng(1))
    features = log_mel(clip, bands=80, frames=300)
    assert features.max() - features.min() <= 2.0 + 1e-6
    assert (features[:, 250:] == features.min()).all()


def test_filters_cover_the_spectrum():
    filters = mel_filters(80)
    assert filters.shape == (80, 201)
    assert (filters >= 0).all()
    assert (filters.sum(axis=1) > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        filters[0, 0] = 1


def test_clips_are_seeded_and_speech_like():
    clip, again = (draw_clip(3.0, np.random.default_rng(4)) for _ in range(2))
    assert clip.dtype == np.float32
    assert len(clip) == 3 * SAMPLE_RATE
    assert np.abs(clip).max() <= 1
    assert clip.tobytes() == again.tobytes()
    assert clip.tobytes() != draw_clip(3.0, np.random.default_rng(5)).tobytes()
    power = np.abs(np.fft.rfft(clip)) ** 2
    frequency_hz = np.fft.rfftfreq(len(clip), 1 / SAMPLE_RATE)
    voiced = power[(frequency_hz > 80) & (frequency_hz < 4000)].sum()
    assert voiced > 0.95 * power.sum()
    loudness = np.sqrt((clip.reshape(-1, 800) ** 2).mean(axis=1))
    assert (loudness > 0.05).any()
    assert (loudness < 0.01).any()


def test_a_clip_of_a_tenth_of_a_second():
    assert len(draw_clip(0.1, np.random.default_rng(0))) == 1600
