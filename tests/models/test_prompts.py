"""A user's own prompts: read, put into tokens, and refused with the line that is wrong."""

import json

import numpy as np
import pytest

from harness.errors import SpecError
from harness.models.inputs import draw_requests, inputs_hash
from harness.models.own_inputs import told_of
from harness.models.requests import Message
from harness.models.tokenizer import open_tokenizer
from tests.factories import make_workload
from tests.models.own_texts import tokenizer_file

LINES = ["what is it?", "tell me more.", "why"]


@pytest.fixture
def folder(tmp_path):
    tokenizer_file(tmp_path / "tokenizer.json")
    return tmp_path


def write(folder, *documents, name="p.jsonl"):
    lines = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def workload(name, *, model=None, output=None, **inputs):
    tree = {
        "kind": "prompts_file",
        "file": name,
        "output_tokens": output or {"kind": "fixed", "value": 8},
        "tokenizer": "tokenizer.json",
        **inputs,
    }
    changes = {"inputs": {k: v for k, v in tree.items() if v is not None}}
    if model is not None:
        questions = {"kind": "exact_answers", "file": "q.jsonl", "accuracy_min": 0.5}
        changes |= {"model": model, "quality": [questions]}
    return make_workload(**changes)


def test_text_csv_and_jsonl_give_the_same_prompts_in_the_files_order(folder):
    text = write(folder, *LINES, name="p.txt")
    table = write(
        folder, "id,prompt", *(f'{n},"{line}"' for n, line in enumerate(LINES)), name="p.csv"
    )
    objects = write(folder, *({"prompt": line} for line in LINES))
    drawn = [draw_requests(workload(name), folder) for name in (text, table, objects)]
    assert len({inputs_hash(requests) for requests in drawn}) == 1
    requests = drawn[0]
    assert [r.messages for r in requests] == [(Message("user", line),) for line in LINES]
    # The mark of the beginning, then a token for each letter.
    assert [len(r.prompt) for r in requests] == [1 + len(line) for line in LINES]
    assert requests[0].prompt[0] == 0
    assert {r.max_new_tokens for r in requests} == {8}


def test_the_tokenizers_own_truncation_does_not_cut_prompts(folder):
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    assert len(tokenizer.encode("a longer text")) == 1 + len("a longer text")
    assert tokenizer.decode([*tokenizer.encode("so it is")[1:], 1, 5, 6]) == "so it is"


def test_only_the_first_count_prompts_are_read(folder):
    name = write(folder, {"prompt": "one"}, {"prompt": "two"}, "not json")
    assert len(draw_requests(workload(name, count=2), folder)) == 2


def test_each_prompt_has_its_own_output_length(folder):
    name = write(folder, {"prompt": "one", "answer": 3}, {"prompt": "two", "answer": 50})
    output = {"kind": "empirical", "file": name, "column": "answer", "mean": 11.5, "maximum": 20}
    requests = draw_requests(workload(name, output=output), folder)
    assert [r.max_new_tokens for r in requests] == [3, 20]
    with pytest.raises(SpecError, match=r"is 11\.5, not 26\.5") as caught:
        draw_requests(workload(name, output=output | {"mean": 26.5}), folder)
    assert caught.value.hint == "write mean: 11.5"


def test_output_lengths_that_nobody_uses_are_not_passed_over(folder):
    name = write(folder, {"prompt": "one", "output_tokens": 3})
    with pytest.raises(SpecError, match="which the workload does not use"):
        draw_requests(workload(name), folder)


@pytest.mark.parametrize(
    ("lines", "place", "said"),
    [
        (['{"prompt": "a"}', '{"prompt": }'], "2:12", "not JSON"),
        (['{"prompt": "a", "messages": []}'], "1:1", "either 'prompt' or 'messages'"),
        (['["a"]'], "1:1", "must be an object"),
        (['{"prompt": " "}'], "1:1", "not empty"),
        (['{"prompt": 5}'], "1:1", "must be a text"),
        (['{"messages": [{"role": "robot", "content": "a"}]}'], "1:1", "'messages' must be a list"),
        (['{"messages": [{"role": "assistant", "content": "a"}]}'], "1:1", "the last one the user"),
        (['{"messages": "a"}'], "1:1", "'messages' must be a list"),
        (["[" * 100_000], "1:1", "not JSON"),
        (["", ""], "1:1", "no prompts"),
        (['{"prompt": "é¢字"}'], "1:1", "no tokens"),
        (['{"prompt": "' + "a" * 121 + '"}'], "1:1", "122 tokens of the prompt and 8"),
    ],
)
def test_a_wrong_line_is_named_by_file_line_and_column(folder, lines, place, said):
    name = write(folder, *lines)
    if "no tokens" in said:  # a tokenizer that adds nothing of its own
        tree = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
        (folder / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(SpecError) as caught:
        draw_requests(workload(name), folder)
    assert f"p.jsonl:{place}: " in str(caught.value)
    assert said in str(caught.value)


def test_wrong_csv_files_are_named_too(folder):
    for text, said in (
        ("question\na\n", "'prompt' among them"),
        ("prompt,n\na\n", "p.csv:2:1: must have 2 columns, has 1"),
        ('prompt,n\n"a\nb",1\nc\n', "p.csv:4:1: must have 2 columns, has 1"),
        ('prompt\n"a\n', "not CSV"),
        ("prompt,n\n ,1\n", "p.csv:2:1: the prompt is empty"),
    ):
        (folder / "p.csv").write_text(text)
        with pytest.raises(SpecError) as caught:
            draw_requests(workload("p.csv"), folder)
        assert said in str(caught.value), text


def test_a_tokenizer_with_gaps_between_its_numbers_is_as_large_as_the_highest(folder):
    path = tokenizer_file(folder / "tokenizer.json", size=60)
    document = json.loads(path.read_text())
    document["model"]["vocab"]["apart"] = 63
    path.write_text(json.dumps(document))
    tokenizer = open_tokenizer(path)
    assert tokenizer.size == 64
    assert tokenizer.decode([2, 63]) == "aapart"
    document["model"]["vocab"]["apart"] = 64
    path.write_text(json.dumps(document))
    with pytest.raises(SpecError, match="has 65 tokens, the model 64"):
        open_tokenizer(path).check(64)


def test_another_models_tokenizer_is_refused(folder):
    for size in (40, 65):
        tokenizer_file(folder / "tokenizer.json", size=size)
        name = write(folder, {"prompt": "one"})
        with pytest.raises(SpecError, match=f"has {size} tokens, the model 64"):
            draw_requests(workload(name), folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x04\x95abc", "a Python pickle"),
        (b"{", "not a tokenizer.json"),
        (b'{"vocab": {}}', "has no 'model'"),
        (b'{"model": {"type": "Nonsense"}}', "not a tokenizer.json"),
        (b"[" * 100_000, "not a tokenizer.json"),
        (b"", "not a tokenizer.json"),
    ],
)
def test_what_is_no_tokenizer_is_refused(folder, content, said):
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(SpecError, match=said):
        open_tokenizer(folder / "tokenizer.json")


def test_a_tokenizer_that_cannot_be_read_is_refused(folder):
    with pytest.raises(SpecError, match=r"cannot read the tokenizer .*own\.json: No such file"):
        open_tokenizer(folder / "own.json")
    (folder / "own.json").mkdir()
    with pytest.raises(SpecError, match=r"cannot read the tokenizer .*own\.json: Is a directory"):
        open_tokenizer(folder / "own.json")


def test_conversations_are_for_servers(folder):
    talk = [{"role": "system", "content": "be short"}, {"role": "user", "content": "why?"}]
    name = write(folder, {"messages": talk})
    with pytest.raises(SpecError, match=r"p\.jsonl:1:1: 'messages' need a server's chat template"):
        draw_requests(workload(name), folder)
    served = workload(name, model={"family": "served"}, tokenizer=None)
    (request,) = draw_requests(served, folder)
    assert request.messages == (Message("system", "be short"), Message("user", "why?"))
    assert len(request.prompt) == 0
    assert told_of([request], 1)["prompt_tokens"] is None


def test_a_tokenizer_counts_what_a_server_is_sent(folder):
    name = write(folder, {"prompt": "why"}, {"prompt": "what"})
    served = workload(name, model={"family": "served"}, prompt_tokens_mean=4.5, prompt_tokens_max=5)
    requests = draw_requests(served, folder)
    assert told_of(requests, 2) == {"prompt_tokens": {"mean": 4.5, "minimum": 4, "maximum": 5}}
    for wrong, said in (
        ({"prompt_tokens_mean": 9.0}, "prompt_tokens_mean: 4.5"),
        ({"prompt_tokens_max": 4}, "prompt_tokens_max: 5"),
    ):
        with pytest.raises(SpecError) as caught:
            draw_requests(workload(name, model={"family": "served"}, **wrong), folder)
        assert caught.value.hint == f"write {said}"


def test_a_computed_model_needs_the_tokenizer_and_the_document_says_so():
    with pytest.raises(ValueError, match=r"inputs\.tokenizer"):
        workload("p.jsonl", tokenizer=None)


def test_every_file_of_own_prompts_is_named(folder):
    named = workload("p.jsonl").files()
    assert named["inputs", "file"] == "p.jsonl"
    assert named["inputs", "tokenizer"] == "tokenizer.json"


def test_random_prompts_for_a_server_are_numbers_of_words(folder):
    inputs = make_workload().inputs.model_dump(mode="json", exclude_none=True)
    gate = {"kind": "exact_answers", "file": "q.jsonl", "accuracy_min": 0.5}
    served = make_workload(model={"family": "served"}, inputs=inputs, quality=[gate])
    requests = draw_requests(served, folder)
    assert len(requests) == 8
    assert max(int(np.max(r.prompt)) for r in requests) < 100
    assert all(r.messages is None for r in requests)


def test_a_record_says_that_a_file_has_fewer_inputs_than_asked_for(folder):
    name = write(folder, {"prompt": "why"}, {"prompt": "what"})
    asked = workload(name, count=5)
    told = told_of(draw_requests(asked, folder), asked.inputs.count)
    assert told["count_asked"] == 5
    assert told["count_reason"] == "the file has 2 of the 5 inputs asked for; they take turns"
    assert not {"count_asked", "count_reason"} & set(told_of(draw_requests(asked, folder), 2))


def test_one_message_of_the_user_is_a_prompt(folder):
    talk = [{"role": "user", "content": "why?"}]
    chat, plain = (
        draw_requests(workload(write(folder, each)), folder)[0]
        for each in ({"messages": talk}, {"prompt": "why?"})
    )
    assert chat.prompt.tolist() == plain.prompt.tolist()
    assert chat.messages == plain.messages == (Message("user", "why?"),)
