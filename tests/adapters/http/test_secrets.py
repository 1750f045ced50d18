import base64
import pickle
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.http.secrets import Secret, find_key
from harness.errors import PrerequisiteError
from harness.schema.server import ApiKey

KEY = "canary/Zq7vX3+pL9mK=rT8w"


def test_the_key_is_sent_in_the_header_that_is_named_and_shown_nowhere() -> None:
    assert Secret(KEY).headers() == {"authorization": f"Bearer {KEY}"}
    assert Secret(KEY, "x-api-key").headers() == {"x-api-key": KEY}
    assert Secret().headers() == {}
    assert KEY not in f"{Secret(KEY)!r} {Secret(KEY)}"
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))


@given(
    st.text(max_size=20), st.text(max_size=20), st.sampled_from(["", "Bearer ", "x", "ab", "user:"])
)
def test_no_form_of_the_key_passes(before: str, after: str, prefix: str) -> None:
    whole = prefix + KEY
    encoded = base64.b64encode(whole.encode()).decode()
    for form in (KEY, KEY.upper(), quote(KEY, safe=""), encoded, KEY[:12], KEY[9:20]):
        assert Secret(KEY).clean(before + form + after).startswith("(not shown")
    safe = base64.urlsafe_b64encode(whole.encode()).decode()
    assert Secret(KEY).clean(before + safe + after).startswith("(not shown")


def test_other_words_pass() -> None:
    said = "model 'x' is not known; ask for one of a, b"
    assert Secret(KEY).clean(said) == said
    assert Secret().clean(said) == said


def test_a_key_comes_from_the_variable_or_the_file_without_blanks_around_it(tmp_path: Path) -> None:
    environ = {"A_KEY": f" {KEY}\n"}
    assert find_key(ApiKey(env="A_KEY"), environ).headers() == Secret(KEY).headers()
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    assert find_key(ApiKey(file=str(path), header="api-key"), {}).headers() == {"api-key": KEY}
    assert find_key(None, {}).headers() == {}


@pytest.mark.parametrize("text", ["", "  ", "a b", "caf\u00e9", "a\x00b", "a\r\nb"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(PrerequisiteError, match="A_KEY") as raised:
        find_key(ApiKey(env="A_KEY"), {"A_KEY": text})
    assert not text.strip() or text not in str(raised.value)


def test_a_missing_key_says_which_and_what_to_do() -> None:
    for declared, words in (
        (ApiKey(env="A_KEY"), "export A_KEY"),
        (ApiKey(file="/nowhere"), "into"),
    ):
        with pytest.raises(PrerequisiteError) as raised:
            find_key(declared, {})
        assert words in (raised.value.hint or "")


def test_what_is_hidden_beside_the_key_is_found_too() -> None:
    both = Secret(KEY).hiding("pass/Zq7vX3")
    assert both.headers() == Secret(KEY).headers()
    for text in (KEY, "pass/Zq7vX3", quote("pass/Zq7vX3", safe="")):
        assert both.clean(f"it said {text}").startswith("(not shown")
    assert Secret().hiding("", "pass").clean("the pass").startswith("(not shown")
    assert Secret().hiding("").clean("the pass") == "the pass"
