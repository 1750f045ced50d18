"""Questions with answers: what counts as right, and how many are needed to show it."""

import json

import numpy as np
import pytest

from harness.adapters.http.openai import TextCodec
from harness.adapters.http.secrets import Secret
from harness.errors import SpecError
from harness.models.answers import least_questions, plain
from harness.models.build import build_model
from harness.models.llama import reference_logits
from harness.models.quality import evaluate
from harness.models.requests import AnswerRequest, Output, ScoreTextRequest, TextRequest
from harness.schema.server import ServerAddress
from harness.statistics import wilson
from tests.factories import make_workload
from tests.models.own_texts import tokenizer_file

PROMPTS = {
    "kind": "prompts_file", "file": "p.txt", "output_tokens": {"kind": "fixed", "value": 4},
}  # fmt: skip


def workload(*, model=None, inputs=None, **gate):
    spec = {"kind": "exact_answers", "file": "q.jsonl", "accuracy_min": 0.5} | gate
    return make_workload(
        model=model or {"family": "served"}, inputs=inputs or PROMPTS, quality=[spec]
    )


def judge(folder, questions, answer, **gate):
    """Return the check of a target that gives `answer(request)` to each question."""
    lines = [each if isinstance(each, str) else json.dumps(each) for each in questions]
    (folder / "q.jsonl").write_text("\n".join(lines) + "\n")
    made = workload(**gate)
    (check,) = evaluate(
        made.quality[0], workload=made, model=None, data=folder, cache=folder,
        ask=lambda requests: [answer(request) for request in requests],
    )  # fmt: skip
    return check


def right(folder, fields, text):
    """Return whether `text` is a right answer to a question with `fields`, asked 8 times."""
    check = judge(folder, [{"prompt": "what?"} | fields] * 8, lambda _: Output(text=text))
    assert check.value == pytest.approx(wilson(8 if check.passed else 0, 8)[0])
    return check.passed


@pytest.mark.parametrize(
    ("fields", "good", "bad"),
    [
        ({"answer": "Paris"}, [" paris.", "PARIS", "**Paris**"], ["Paris, France", "", "Lyon"]),
        ({"answer": ["4", "four"]}, ["4", "Four!"], ["44", "for"]),
        ({"answer": "ﬁve"}, ["five"], ["fve"]),
        ({"pattern": r"\b42\b"}, ["It is 42.", "42"], ["420", "forty-two"]),
        ({"pattern": r"(?i)^yes"}, ["Yes, it is"], ["oh yes"]),
        ({"choices": ["A", "B", "C"], "answer": "B"},
         ["B", "B) because A is wrong", "The answer is B."], ["A or B", "b", "AB", ""]),
        ({"choices": ["no", "not now"], "answer": "not now"}, ["not now"], ["no", "no, not now"]),
    ],
)  # fmt: skip
def test_an_answer_is_right_by_rule(tmp_path, fields, good, bad):
    assert [right(tmp_path, fields, text) for text in good] == [True] * len(good)
    assert [right(tmp_path, fields, text) for text in bad] == [False] * len(bad)


def test_the_accuracy_must_be_shown_not_only_seen(tmp_path):
    questions = [{"prompt": f"{n}?", "answer": "yes" if n < 18 else "no"} for n in range(20)]
    # Seen are 90 %: the interval reaches down to 70 %.
    check = judge(tmp_path, questions, lambda _: Output(text="yes"), accuracy_min=0.8)
    assert check.value == pytest.approx(0.699, abs=1e-3)
    assert not check.passed
    assert check.reason == "18 of 20 answers are right: 0.900, 95 % 0.699 to 0.972"
    assert judge(tmp_path, questions, lambda _: Output(text="yes"), accuracy_min=0.69).passed


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_too_few_questions_to_show_the_accuracy_are_refused(tmp_path, accuracy):
    count = least_questions(accuracy)
    assert wilson(count, count)[0] >= accuracy > wilson(count - 1, count - 1)[0]
    few = [{"prompt": "a", "answer": "b"}] * (count - 1)
    with pytest.raises(SpecError, match="show an accuracy of only") as caught:
        judge(tmp_path, few, lambda _: Output(text="b"), accuracy_min=accuracy)
    assert f"ask at least {count}" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"prompt": "a"}, "needs a 'pattern' or an 'answer'"),
        ({"prompt": "a", "answer": ""}, "needs a 'pattern' or an 'answer'"),
        ({"prompt": "a", "answer": "..."}, "needs a 'pattern' or an 'answer'"),
        ({"prompt": "a", "answer": 5}, "needs a 'pattern' or an 'answer'"),
        ({"prompt": "a", "pattern": "("}, "is no regular expression"),
        ({"prompt": "a", "pattern": "yes|"}, "is found in an empty answer"),
        ({"prompt": "a", "pattern": "a", "answer": "b"}, "has either"),
        ({"prompt": "a", "choices": ["A"], "answer": "A"}, "at least two different"),
        ({"prompt": "a", "choices": ["A", "B"], "answer": "C"}, "one of the 'choices'"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_question_is_named_with_its_line(tmp_path, line, said):
    good = {"prompt": "a", "answer": "b"}
    with pytest.raises(SpecError) as caught:
        judge(tmp_path, [good, line], lambda _: Output(text="b"))
    assert "q.jsonl:2:" in str(caught.value)
    assert said in str(caught.value)


def test_a_target_that_fails_or_gives_no_text_fails_the_gate(tmp_path):
    questions = [{"prompt": "a", "answer": "b"}] * 8
    check = judge(tmp_path, questions, lambda _: Output(tokens=[1, 2]))
    assert (check.passed, check.value) == (False, None)
    assert "needs the gate's 'tokenizer'" in check.reason


def test_a_model_computed_here_is_judged_by_its_tokens(tmp_path):
    tokenizer_file(tmp_path / "tokenizer.json")
    (tmp_path / "q.jsonl").write_text('{"prompt": "what", "answer": "so"}\n' * 8)
    llama = make_workload().model.model_dump()
    made = workload(model=llama, inputs=PROMPTS | {"tokenizer": "tokenizer.json"},
                    tokenizer="tokenizer.json", max_new_tokens=5)  # fmt: skip
    asked = []

    def ask(requests):
        asked.extend(requests)
        letters = {letter: 2 + place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
        # "so", the end, and what comes after it.
        return [Output(tokens=[letters["s"], letters["o"], 1, 9, 9]) for _ in requests]

    (check,) = evaluate(
        made.quality[0], workload=made, model=None, ask=ask, data=tmp_path, cache=tmp_path
    )
    assert check.passed
    assert all(isinstance(request, TextRequest) for request in asked)
    assert [len(request.prompt) for request in asked] == [5] * 8
    assert {request.max_new_tokens for request in asked} == {5}


@pytest.mark.parametrize("eos", [7, [1, 7]])
def test_an_answer_ends_where_config_json_says(tmp_path, eos):
    tokenizer_file(tmp_path / "tokenizer.json")
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": eos}))
    (tmp_path / "q.jsonl").write_text('{"prompt": "what", "answer": "ab"}\n' * 8)
    llama = make_workload().model.model_dump() | {"weights": "model.safetensors"}
    made = workload(model=llama, inputs=PROMPTS | {"tokenizer": "tokenizer.json"},
                    tokenizer="tokenizer.json", max_new_tokens=4)  # fmt: skip
    (check,) = evaluate(
        made.quality[0], workload=made, model=None, data=tmp_path, cache=tmp_path,
        ask=lambda requests: [Output(tokens=[2, 3, 7, 9]) for _ in requests],
    )  # fmt: skip
    assert check.passed


def body(request, **server):
    address = ServerAddress(url="http://h/v1", model="m", **{"protocol": "openai-chat"} | server)
    return json.loads(TextCodec(address, Secret()).encode(request).content)


def test_an_answer_may_end_early_and_a_measured_one_may_not(tmp_path):
    (tmp_path / "q.jsonl").write_text("")
    length = ["ignore_eos", "min_tokens"]
    messages = None
    prompt = np.zeros(3, dtype=np.int64)
    timed = body(TextRequest(prompt, 9, None, messages), length=length)
    assert (timed["ignore_eos"], timed["min_tokens"]) == (True, 9)
    free = body(AnswerRequest(prompt, 9, None, messages), length=length)
    assert not {"ignore_eos", "min_tokens"} & set(free)
    assert free["max_completion_tokens" if "max_completion_tokens" in free else "max_tokens"] == 9


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"kind": "reference_agreement"}, "use the gate 'exact_answers'"),
        ({"kind": "own_text", "file": "a.txt"}, "use the gate 'exact_answers'"),
        ({"kind": "transcripts", "list": "a.csv", "word_error_rate_max": 0.1}, "exact_answers"),
    ],
)
def test_a_gate_that_a_server_cannot_answer_is_refused_in_the_document(gate, said):
    with pytest.raises(ValueError, match=said):
        make_workload(model={"family": "served"}, inputs=PROMPTS, quality=[gate])


def test_marks_and_case_at_the_ends_do_not_matter():
    assert plain("  “Paris”. ".replace("“", '"').replace("”", '"')) == "paris"


def own_text(folder, spoil=lambda logits: logits, **gate):
    """Return the checks of a target that generates as the reference and spoils its logits."""
    tokenizer_file(folder / "tokenizer.json")
    (folder / "text.txt").write_text("the cat sat on the mat and so did the dog. " * 20)
    spec = {"kind": "own_text", "file": "text.txt", "tokenizer": "tokenizer.json",
            "tokens": 128, "window": 32} | gate  # fmt: skip
    made = make_workload(quality=[spec])
    model = build_model(made.model, made.task, cache=folder / "cache", data=folder)

    def logits(tokens):
        return reference_logits(model.weights(), made.model, tokens)

    def answer(request):
        if isinstance(request, ScoreTextRequest):
            return Output(logits=spoil(logits(request.tokens)).astype(np.float32))
        tokens = request.prompt
        for _ in range(request.max_new_tokens):
            tokens = np.append(tokens, logits(tokens)[-1].argmax())
        return Output(tokens=tokens[len(request.prompt) :].tolist())

    def ask(requests):
        return [answer(request) for request in requests]

    return evaluate(
        made.quality[0], workload=made, model=model, ask=ask, data=folder, cache=folder / "cache"
    )


def test_own_text_passes_the_model_itself_and_fails_a_ruined_one(tmp_path):
    good = {check.metric: check for check in own_text(tmp_path)}
    assert set(good) == {"perplexity_ratio", "kl_divergence", "generation_regret"}
    assert all(check.passed for check in good.values())
    assert good["perplexity_ratio"].value == pytest.approx(1, abs=1e-6)
    assert good["kl_divergence"].value == pytest.approx(0, abs=1e-6)
    poor = {check.metric: check for check in own_text(tmp_path, lambda logits: logits[:, ::-1])}
    assert not poor["kl_divergence"].passed


def test_a_question_in_a_conversation_is_refused_where_there_is_no_chat_template(tmp_path):
    tokenizer_file(tmp_path / "tokenizer.json")
    said = [{"role": "system", "content": "be short"}, {"role": "user", "content": "why?"}]
    asked = [{"prompt": "what?", "answer": "b"}, {"messages": said, "answer": "b"}] * 4
    local = {"model": make_workload().model.model_dump(), "tokenizer": "tokenizer.json",
             "inputs": PROMPTS | {"tokenizer": "tokenizer.json"}}  # fmt: skip
    with pytest.raises(SpecError, match=r"q\.jsonl:2:1: 'messages' need a server's chat template"):
        judge(tmp_path, asked, lambda _: Output(text="b"), **local)
    assert judge(tmp_path, asked, lambda _: Output(text="b")).value > 0.5


def test_own_text_that_is_too_short_is_refused(tmp_path):
    with pytest.raises(SpecError, match="tokens, not above"):
        own_text(tmp_path, tokens=4096)
    with pytest.raises(SpecError, match="above its 'tokens'"):
        own_text(tmp_path, window=256)
