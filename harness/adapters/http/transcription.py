"""OpenAI's `audio/transcriptions`: a WAV file as a form, the text in one JSON reply."""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Mapping

import numpy as np

from harness.adapters.base import Output, Request, SpeechRequest
from harness.adapters.http.errors import AnswerError
from harness.adapters.http.message import Body, Received, check, parse
from harness.adapters.http.served_model import ListedModel
from harness.adapters.receipt import Answer
from harness.errors import UnsupportedError
from harness.models.audio import SAMPLE_RATE, draw_clip


class TranscriptionCodec(ListedModel):
    """Sends sound, takes text. The server decides how long its answer is.

    A user's own recording is sent as it is. Otherwise a request holds log-mel features, from which
    sound cannot be had back: what is sent is a clip of the same length from the same generator,
    seeded by the features: equal in every run.
    """

    def encode(self, request: Request) -> Body:
        """Return the form of one clip."""
        if not isinstance(request, SpeechRequest):
            raise UnsupportedError(
                f"openai-transcriptions does not answer a {type(request).__name__}"
            )
        sound = wav(request) if request.sound is None else request.sound
        fields: dict[str, object] = {"temperature": 0, **self._server.extra}
        fields |= {"model": self.served.name, "response_format": "json"}
        boundary = f"harness-{hashlib.sha256(sound).hexdigest()[:24]}"
        parts = [
            f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="clip.wav"\r\n'
            "content-type: audio/wav\r\n\r\n"
        )
        return Body(
            path="/audio/transcriptions",
            content_type=f"multipart/form-data; boundary={boundary}",
            content="".join(parts).encode() + sound + f"\r\n--{boundary}--\r\n".encode(),
        )

    def decode(self, request: Request, reply: Received) -> Answer:
        """Return the end of the reply, and its tokens if the server counts them."""
        document = parse(check(reply, self._secret, "application/json"))
        text = document.get("text") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(text, str):
            raise AnswerError("the reply has no 'text'")
        usage = document.get("usage")
        counted = usage.get("output_tokens") if isinstance(usage, dict) else None
        tokens = counted if isinstance(counted, int) and counted > 0 else 0
        self._tally.add("usage" if tokens else "nothing", tokens, 0, None)
        return Answer(ended_ns=reply.ended_ns, tokens=tokens, output=Output(text=text))

    def describe(self) -> Mapping[str, object]:
        """Return how tokens were counted, and that their number is the server's choice."""
        return {**self.served.describe(), "answer_length": "free", **self._tally.describe()}


def wav(request: SpeechRequest) -> bytes:
    """Return a clip of `audio_s` seconds as WAV: one channel, 16 bit, 16 kHz."""
    seed = hashlib.sha256(np.ascontiguousarray(request.features).tobytes()).digest()[:8]
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    clip = draw_clip(request.audio_s, rng)
    levels = np.clip(np.rint(clip * 32767.0), -32768, 32767).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(levels.tobytes())
    return stream.getvalue()
