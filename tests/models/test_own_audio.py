"""A user's own recordings: what WAV files are read, how, and which are refused."""

import struct

import numpy as np
import pytest

from harness.data_files import digests
from harness.errors import SpecError
from harness.models.audio import log_mel
from harness.models.inputs import draw_requests
from harness.models.own_audio import plain_words
from harness.models.quality import evaluate
from harness.models.requests import Output
from harness.models.wav import decode_wav
from tests.adapters.recorder import WHISPER
from tests.factories import make_workload
from tests.models.own_texts import tone, wav_file


def decoded(path):
    return decode_wav(path.read_bytes(), path)


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_widths_and_channels_give_the_same_sound(tmp_path, bits, channels):
    sound = tone(0.1)
    path = wav_file(tmp_path / "a.wav", sound, bits=bits, channels=channels)
    np.testing.assert_allclose(decoded(path), sound, atol=1 / 32_000)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled_without_shifting_or_scaling(tmp_path, rate_hz):
    path = wav_file(tmp_path / "a.wav", tone(0.5, rate_hz=rate_hz), rate_hz=rate_hz)
    sound = decoded(path)
    assert abs(len(sound) - 8000) <= 1
    middle = slice(800, 7200)  # the filter's ends ring
    np.testing.assert_allclose(sound[middle], tone(0.5)[middle], atol=0.005)


def test_what_is_above_the_new_band_does_not_come_back_as_another_tone(tmp_path):
    path = wav_file(tmp_path / "a.wav", tone(0.5, rate_hz=48_000, hertz=12_000), rate_hz=48_000)
    assert np.abs(decoded(path)[800:7200]).max() < 0.01


def header(kind=1, channels=1, rate_hz=16_000, bits=16, frame=None, data=b"\0\0" * 160):
    frame = channels * bits // 8 if frame is None else frame
    told = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * frame, frame, bits)
    parts = b"fmt " + struct.pack("<I", 16) + told + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts


GOOD = header()
WRONG = {
    "empty": (b"", "is empty: it has 0 bytes"),
    "a pickle": (b"\x80\x04\x95" + bytes(40), "a Python pickle"),
    "an mp3": (b"ID3" + bytes(100), "not a WAV file"),
    "big-endian": (b"RIFX" + GOOD[4:], "not a WAV file"),
    "cut in the samples": (GOOD[:-100], "cut short: its part 'data'"),
    "cut in the format": (GOOD[:30], "cut short: its part 'fmt '"),
    "no samples": (header(data=b""), "has no samples"),
    "half a sample": (header(data=b"\0" * 33), "ends within a sample"),
    "8 bit": (header(bits=8), "8 bit PCM; 16, 24 and 32 bit PCM are read"),
    "float": (header(kind=3, bits=32), "32 bit float"),
    "A-law": (header(kind=6, bits=8), "8 bit A-law"),
    "no channels": (header(channels=0), "0 channels"),
    "many channels": (header(channels=60_000, frame=2), "60000 channels"),
    "no rate": (header(rate_hz=0), "at 0 Hz"),
    "wrong frame": (header(frame=7), "are not 7 bytes"),
    "huge part": (GOOD[:12] + b"LIST" + struct.pack("<I", 2**32 - 1) + GOOD[12:], "cut short"),
    "samples first": (GOOD[:12] + GOOD[36:] + GOOD[12:36], "before it says of what kind"),
    "no parts": (GOOD[:12], "no format"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_wav_is_refused_with_the_reason(tmp_path, name):
    content, reason = WRONG[name]
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=reason) as caught:
        draw_requests(workload(files=["a.wav"]), tmp_path)
    assert str(path) in str(caught.value)


def test_extensible_pcm_is_read_and_other_parts_are_passed_over(tmp_path):
    guid = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    told = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4) + guid
    parts = b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", 40) + told
    parts += b"data" + struct.pack("<I", 4) + struct.pack("<hh", 16384, -16384)
    content = b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts
    assert decode_wav(content, tmp_path).tolist() == [0.5, -0.5]


def workload(model=None, quality=None, **inputs):
    tree = {"kind": "audio_files", "output_tokens": {"kind": "fixed", "value": 4}, **inputs}
    return make_workload(
        task="speech_to_text",
        model=model or WHISPER.model_dump(),
        inputs=tree,
        quality=quality or [{"kind": "reference_agreement", "requests": 1}],
    )


GATE = {"kind": "transcripts", "list": "said.csv", "word_error_rate_max": 0.2}
SERVED = {"model": {"family": "served"}, "quality": [GATE]}


def test_features_are_those_of_the_sound_and_the_file_goes_with_them(tmp_path):
    path = wav_file(tmp_path / "a.wav", tone(0.3))
    (request,) = draw_requests(workload(files=["a.wav"]), tmp_path)
    truth = log_mel(decoded(path), bands=WHISPER.mel_bands, frames=WHISPER.frames)
    np.testing.assert_array_equal(request.features, truth)
    assert request.audio_s == pytest.approx(0.3)
    assert request.sound == path.read_bytes()


def test_a_recording_longer_than_the_window_is_refused_not_cut(tmp_path):
    wav_file(tmp_path / "a.wav", tone(0.7))
    with pytest.raises(SpecError, match=r"lasts 0\.70 s, longer than the model's window of 0\.6 s"):
        draw_requests(workload(files=["a.wav"]), tmp_path)
    (request,) = draw_requests(workload(files=["a.wav"], **SERVED), tmp_path)
    assert request.features.size == 0
    assert request.audio_s == pytest.approx(0.7)


def test_the_declared_mean_duration_is_held_against_the_files(tmp_path):
    wav_file(tmp_path / "a.wav", tone(0.2))
    wav_file(tmp_path / "b.wav", tone(0.4))
    names = ["a.wav", "b.wav"]
    draw_requests(workload(files=names, duration_s_mean=0.3), tmp_path)
    with pytest.raises(SpecError, match=r"is 0\.3, not 0\.4") as caught:
        draw_requests(workload(files=names, duration_s_mean=0.4), tmp_path)
    assert caught.value.hint == "write duration_s_mean: 0.3"


def test_a_list_names_files_beside_it_and_all_are_part_of_the_cell(tmp_path):
    (tmp_path / "clips").mkdir()
    wav_file(tmp_path / "clips" / "a.wav", tone(0.2))
    (tmp_path / "clips" / "said.csv").write_text('file,transcript\na.wav,"one, two"\n')
    made = workload(list="clips/said.csv")
    assert len(draw_requests(made, tmp_path)) == 1
    before = digests(made, made.scenarios[0], tmp_path)
    assert set(before) == {"clips/said.csv", "clips/a.wav"}
    wav_file(tmp_path / "clips" / "a.wav", tone(0.25))
    assert digests(made, made.scenarios[0], tmp_path) != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\n../a.wav\n", "said.csv:2:1: file: '../a.wav' is not a file in the folder"),
        ("file\n/etc/passwd\n", "is not a file in the folder"),
        ("file\nlink.wav\n", "is a link to outside"),
        ("file\nnone.wav\n", "said.csv:2:1: cannot read the recording"),
        ("name\na.wav\n", "'file' among them"),
        ("file,n\na.wav\n", "said.csv:2:1: must have 2 columns, has 1"),
        ("file\n", "names no recordings"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, text, said):
    folder = tmp_path / "inside"
    folder.mkdir()
    wav_file(tmp_path / "a.wav", tone(0.1))
    (folder / "link.wav").symlink_to(tmp_path / "a.wav")
    (folder / "said.csv").write_text(text)
    with pytest.raises(SpecError) as caught:
        draw_requests(workload(list="said.csv"), folder)
    assert said in str(caught.value)


def test_either_files_or_a_list():
    for wrong in ({}, {"files": ["a.wav"], "list": "said.csv"}):
        with pytest.raises(ValueError, match="either 'files' or 'list'"):
            workload(**wrong)


def test_words_are_compared_in_one_form():
    assert plain_words("Don’t STOP -- it's 5 o'clock, 'Zoë'!") == [
        "don't", "stop", "it's", "5", "o'clock", "zoë",
    ]  # fmt: skip


def judged(tmp_path, answers):
    """Return the check of a server that hears `answers`."""
    for name in ("a.wav", "b.wav"):
        wav_file(tmp_path / name, tone(0.1))
    (tmp_path / "said.csv").write_text("file,transcript\na.wav,One two three\nb.wav,Four five\n")
    made = workload(files=["a.wav"], **SERVED)
    given = iter(answers)
    (check,) = evaluate(
        made.quality[0], workload=made, model=None, data=tmp_path, cache=tmp_path,
        ask=lambda requests: [Output(text=next(given)) for _ in requests],
    )  # fmt: skip
    return check


def test_the_word_error_rate_of_a_server_counts_wrong_words(tmp_path):
    good = judged(tmp_path, ["one, two, three.", "four five"])
    assert (good.value, good.passed) == (0.0, True)
    assert good.reason == "of 5 words in 2 recordings"
    poor = judged(tmp_path, ["one two", "four nine"])
    assert (poor.value, poor.passed) == (0.4, False)


def test_an_answer_without_text_fails_the_gate_with_the_reason(tmp_path):
    check = judged(tmp_path, [None, None])
    assert not check.passed
    assert "needs the gate's 'tokenizer'" in check.reason
