"""A small Llama in a folder of its own, as `save_pretrained` writes one, for servers to load.

Its vocabulary holds the words that the harness sends, one token each, and the chat template adds
nothing: a served prompt has exactly the tokens of the workload's. No token ends an answer, so
answers are as long as asked for.
"""

import json

from harness.models.texts import WORDS
from harness.schema.model import LlamaModel

LLAMA = LlamaModel(
    family="llama",
    vocabulary=128,
    hidden=64,
    layers=2,
    heads=4,
    kv_heads=2,
    intermediate=128,
    context=1024,
)
WEIGHTS = "model.safetensors"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def write_llama_folder(folder, model=LLAMA):
    """Write weights drawn from `model.seed`, configuration and tokenizer into `folder`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GenerationConfig,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    config = LlamaConfig(
        vocab_size=model.vocabulary,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        intermediate_size=model.intermediate,
        max_position_embeddings=model.context,
        rms_norm_eps=model.norm_epsilon,
        tie_word_embeddings=model.tied_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        bos_token_id=None,
        eos_token_id=None,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model.seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    GenerationConfig(pad_token_id=0).save_pretrained(folder)
    names = ["<pad>", "<unk>", *WORDS]
    names += [f"word{number}" for number in range(len(names), model.vocabulary)]
    words = models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="<unk>")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>"
    )
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())
