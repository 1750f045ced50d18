"""The OpenAI protocols of the reference server: answers that follow from the request alone."""

import base64
import hashlib
import json
import struct

from tests.servers.script import Answer

WORDS = (
    "alpha",
    "bêta",
    "gamma",
    "δelta",
    "epsilon",
    "日本",
    "zeta",
    "🙂",
)  # 1 to 4 bytes a letter


def token(index):
    """Return the text of token `index`."""
    return " " + WORDS[index % len(WORDS)]


def data(document):
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def prompt_tokens(document):
    """Return the number of words in the prompt; of a list of numbers, its length."""
    prompt = document.get("prompt", "")
    if isinstance(prompt, list):
        return len(prompt)
    texts = [str(message.get("content", "")) for message in document.get("messages", ())]
    return len(" ".join([prompt, *texts]).split())


def usage(document, count, options):
    before = prompt_tokens(document)
    told = {
        "prompt_tokens": before,
        "completion_tokens": count,
        "total_tokens": before + count,
    }
    if options.cache:
        said = {"messages": document.get("messages", ())[:-1]}
        told["prompt_tokens_details"] = {"cached_tokens": prompt_tokens(said)}
    return told


def heard(body):
    """Return how many answers a chat's messages hold, each just as this server gives them.

    -1 if one of them is another's.
    """
    if b'"assistant"' not in body:
        return 0
    messages = json.loads(body)["messages"]
    said = [m["content"] for m in messages if m["role"] == "assistant"]
    own = all(text == "".join(map(token, range(len(text.split())))) for text in said)
    return len(said) if own else -1


def known_answer(document, options):
    """Return the words after "Repeat:" in what was asked last, for a share of the askers; or None.

    So a test knows which answers are right, and how many a server of `knows=0.8` gets right.
    """
    prompt = document.get("prompt", "")
    asked = prompt if isinstance(prompt, str) else ""
    for message in document.get("messages", ()):
        asked = str(message.get("content", ""))
    _, found, words = asked.partition("Repeat:")
    if not found:
        return None
    luck = hashlib.sha256(asked.encode()).digest()[0] / 256
    return words.split() if luck < options.knows else ["no", "idea"]


def generate(request, *, chat):
    """Return the answer to chat/completions or completions."""
    document, options = json.loads(request.body), request.options
    count = document.get("max_completion_tokens") or document.get("max_tokens") or options.tokens
    model = document.get("model", "reference")
    if options.known and model != options.known:
        return refusal(404, f"The model {model} does not exist.")
    if document.get("stream"):
        return stream(document, options, count, model, chat=chat)
    text = "".join(map(token, range(count)))
    told = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    body = {
        "id": "reference",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, **told, "finish_reason": "length"}],
    }
    if options.usage:
        body["usage"] = usage(document, count, options)
    return Answer(
        body=json.dumps(body, ensure_ascii=False).encode(),
        at_s=options.ttft_s + (count - 1) * options.itl_s,
    )


def stream(document, options, count, model, *, chat):
    """Return `count` tokens as events, `usage` if it was asked for, and the end mark."""
    about = {
        "id": "reference",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": 0,
        "model": model,
    }

    def event(told, finish=None):
        return data({**about, "choices": [{"index": 0, **told, "finish_reason": finish}]})

    events = []
    answer = known_answer(document, options)
    ended = answer is not None and not document.get("ignore_eos")
    count = min(count, len(answer)) if ended else count
    if options.role and chat:
        events.append((0.0, event({"delta": {"role": "assistant", "content": ""}}), False))
    for first in range(0, count, options.per_event):
        end = min(first + options.per_event, count)
        text = "".join(map(token, range(first, end)))
        if ended:
            text = "".join(f" {word}" for word in answer[first:end])
        told = {"delta": {"content": text}} if chat else {"text": text}
        finish = ("stop" if ended else "length") if end == count else None
        at_s = options.ttft_s + (end - 1) * options.itl_s
        events.append((at_s, event(told, finish), True))
    last_s = events[-1][0]
    if options.usage and (document.get("stream_options") or {}).get("include_usage"):
        event_usage = data({**about, "choices": [], "usage": usage(document, count, options)})
        events.append((last_s, event_usage, False))
    events.append((last_s, DONE, False))
    return Answer(content_type="text/event-stream; charset=utf-8", events=tuple(events))


def embedding(text, dimensions=8):
    """Return `dimensions` numbers in [-1, 1) that follow from `text`."""
    digest = hashlib.sha256(str(text).encode()).digest()
    return [byte / 128 - 1 for byte in digest[:dimensions]]


def embeddings(request):
    document = json.loads(request.body)
    inputs = document["input"]
    if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
        inputs = [inputs]
    rows = []
    for index, text in enumerate(inputs):
        vector = embedding(text)
        if document.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        rows.append({"object": "embedding", "index": index, "embedding": vector})
    count = sum(len(text) if isinstance(text, list) else len(text.split()) for text in inputs)
    body = {
        "object": "list",
        "model": document.get("model", "reference"),
        "data": rows,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }
    return Answer(body=json.dumps(body).encode(), at_s=request.options.ttft_s)


def form(request):
    """Return the fields of a multipart form as bytes; `file` among them."""
    _, _, boundary = request.headers.get("content-type", "").partition("boundary=")
    fields = {}
    mark = b"--" + boundary.strip('"').encode()
    for part in request.body.split(mark)[1:-1]:
        told, _, value = part.partition(b"\r\n\r\n")
        name = told.partition(b'name="')[2].partition(b'"')[0].decode()
        fields[name] = value.removesuffix(b"\r\n")
    return fields


def transcriptions(request):
    """Return tokens as many as the options say; 400 if there is no audio."""
    fields, options = form(request), request.options
    if not fields.get("file"):
        return refusal(400, "no file in the form")
    parts = [token(index) for index in range(options.tokens)]
    tokens = {"type": "tokens", "input_tokens": 0, "output_tokens": len(parts)}
    if fields.get("stream") != b"true":
        body = {"text": "".join(parts), "usage": tokens}
        at_s = options.ttft_s + (len(parts) - 1) * options.itl_s
        return Answer(body=json.dumps(body).encode(), at_s=at_s)
    events = [
        (
            options.ttft_s + index * options.itl_s,
            data({"type": "transcript.text.delta", "delta": part}),
            True,
        )
        for index, part in enumerate(parts)
    ]
    end = data({"type": "transcript.text.done", "text": "".join(parts), "usage": tokens})
    events.append((events[-1][0], end, False))
    return Answer(content_type="text/event-stream", events=tuple(events))


def models(request):
    rows = [
        {"id": name, "object": "model", "created": 0, "owned_by": "tests"}
        for name in filter(None, request.options.listed.split("+"))
    ]
    return Answer(body=json.dumps({"object": "list", "data": rows}).encode())


def refusal(status, message, headers=None):
    """Return an error in the form that these protocols use."""
    body = {"error": {"message": message, "type": "reference", "code": status}}
    return Answer(status=status, body=json.dumps(body).encode(), headers=headers or {})
