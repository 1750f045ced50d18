"""llama.cpp's own server on a small Llama: a GGUF file as the harness writes it, with a tokenizer.

Its vocabulary holds bytes and letters, so a word is several tokens; the server counts them.
"""

import os
import string

import numpy as np

from harness.models.llama import draw_weights
from harness.models.llama_gguf import build_gguf
from harness.schema.model import LlamaModel
from tests.servers.llama_build import llama_program
from tests.servers.process import refused_port
from tests.servers.running import Running

BLANK = "\N{LOWER ONE EIGHTH BLOCK}"
LETTERS = (BLANK, *string.ascii_letters, *string.digits, *".,:!?")
SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
TOKENS = (*SPECIAL, *BYTES, *LETTERS)
UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1
"""Kinds of tokens: llama.h, enum llama_token_type."""
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
LLAMA = LlamaModel(
    family="llama",
    vocabulary=len(TOKENS),
    hidden=64,
    layers=2,
    heads=4,
    kv_heads=2,
    intermediate=128,
    context=1024,
)


def llama_cpp_server(work):
    """Return the server of a model that is written into `work`.

    Raises NotInstalled unless `python -m tests.servers.install llama-server` was run.
    """
    server = llama_program("llama-server")
    file = write_gguf(work)
    port = refused_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--port", port, "--threads", os.cpu_count() or 1]
    return Running(
        [server, "--model", file, "--alias", "tiny-llama", "--ctx-size", "4096", *options],
        url=f"{address}/v1",
        ready_url=f"{address}/health",
        log=work / "llama-server.log",
    )


def write_gguf(work):
    """Return the path of a GGUF file with weights drawn from the seed, and a tokenizer."""
    import gguf

    plain, whole = work / "plain.gguf", work / "tiny-llama.gguf"
    weights = dict(draw_weights(LLAMA))
    # Only letters are likely: a server sends no text for a byte that begins a character.
    table = np.array(weights["model.embed_tokens.weight"])
    table[: len(SPECIAL) + len(BYTES)] = 0.0
    weights["model.embed_tokens.weight"] = table
    build_gguf(weights, LLAMA, plain, "f32")
    reader = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(whole, "llama")
    for field in reader.fields.values():
        own = field.name.startswith(("GGUF.", "tokenizer.")) or field.name == "general.architecture"
        if not own:
            writer.add_key_value(field.name, field.contents(), field.types[0])
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * len(BYTES), *[NORMAL] * len(LETTERS)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(TOKENS))
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for tensor in reader.tensors:
        data = tensor.data
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return whole
