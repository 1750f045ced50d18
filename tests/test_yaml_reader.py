import math

import pytest
import yaml

from harness import yaml_reader
from harness.errors import SpecError
from harness.yaml_reader import MAX_BYTES, MAX_DEPTH, dotted, parse_yaml, read_yaml


@pytest.fixture(params=["C", "Python"], autouse=True)
def loader(request, monkeypatch):
    """Run every test with both of PyYAML's parsers: which one is there depends on the build."""
    if request.param == "Python":
        monkeypatch.setattr(yaml_reader, "LOADER", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML is built without libyaml")


def value(text):
    return parse_yaml(f"key: {text}\n".encode(), "t.yaml").tree["key"]


def refused(content):
    if isinstance(content, str):
        content = content.encode()
    with pytest.raises(SpecError) as caught:
        parse_yaml(content, "t.yaml")
    assert caught.value.problems
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-11-01", "2026-11-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("'5'", "5"),
        ('"true"', "true"),
        ("=", "="),
        ("[a, 1]", ["a", 1]),
        ("{a: {b: c}}", {"a": {"b": "c"}}),
        ("שלום", "שלום"),
    ],
)
def test_scalars_follow_the_core_schema(text, expected):
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_block_text_is_text_whatever_it_looks_like():
    source = parse_yaml(b"a: |\n  12\nb: >-\n  true\n", "t.yaml")
    assert source.tree == {"a": "12\n", "b": "true"}


def test_places_of_keys_and_values():
    source = parse_yaml(b"a: 1\nb:\n  - c:  2\n  - [x, y]\n", "t.yaml")
    assert source.keys["b",] == (2, 1)
    assert source.places["b",] == (3, 3)
    assert source.keys["b", 0, "c"] == (3, 5)
    assert source.places["b", 0, "c"] == (3, 9)
    assert source.places["b", 1, 1] == (4, 9)
    assert source.places[()] == (1, 1)
    assert str(source.problem(("b", 0, "c"), "wrong")) == "t.yaml:3:9: b[0].c: wrong"
    assert str(source.problem(("b", 0, "c"), "odd", at_key=True)) == "t.yaml:3:5: b[0].c: odd"


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("a: 1\na: 2\n", "2:1", "duplicate key 'a', first on line 1"),
        ("x:\n  b: 1\n  c: 2\n  b: 3\n", "4:3", "duplicate key 'b', first on line 2"),
        ("a: &x 1\n", "1:4", "anchors"),
        ("a: &x [1]\nb: *x\n", "1:4", "anchors"),
        ("a: *x\n", "1:4", "aliases"),
        ("a: !!python/object/apply:os.system [ls]\n", "1:4", "tags are not allowed"),
        ("a: !x 1\n", "1:4", "tags are not allowed"),
        ("a: !!str 1\n", "1:4", "tags are not allowed"),
        ("a: .nan\n", "1:4", "not a finite number"),
        ("a: -.inf\n", "1:4", "not a finite number"),
        ("a: 1e999\n", "1:4", "not a finite number"),
        ("a: " + "9" * 900_000 + "\n", "1:4", "a number of 900,000 digits"),
        ("a: 0." + "9" * 900_000 + "\n", "1:4", "not a finite number"),
        ("a: 010\n", "1:4", "leading zeros"),
        ("a: 0x10\n", "1:4", "decimal"),
        ("a:\n\tb: 1\n", "2:1", "a tab"),
        ("a: 1\n---\nb: 2\n", "2:1", "a second document"),
        ("- 1\n", "1:1", "is a list"),
        ("5\n", "1:1", "holds only text"),
        ("", "1:1", "is empty"),
        ("# nothing\n", "1:1", "is empty"),
        ("---\n...\n", ":", "is empty"),
        ("a: b: c\n", "1:5", "mapping values are not allowed"),
        ("1: a\n", "1:1", "a key must be text"),
        ("? [1]\n: 2\n", "1:3", "a key must be text"),
        ('a: "\\e[31mred"\n', "1:4", "U+001B"),
        ('a: "\\u202e"\n', "1:4", "U+202E"),
        ('"a\\nb": 1\n', "1:1", "not a key"),
        ("a: x\u202ey\n", "1:5", "U+202E"),
        ("a: x\x1b[31m\n", "1:5", "U+001B"),
        ("ab\x00c: 1\n", "1:3", "U+0000"),
        ("a: 1\nb: x\x85y\n", "2:5", "U+0085"),
        (b"a: 1\nb: \xff\xfe\n", "2:4", "byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "1:1", "UTF-16"),
        (b"a: " + b"x" * MAX_BYTES, "t.yaml: ", "larger than 1,000,000 bytes"),
        ("[" * 100_000, "1:1", "is a list"),
        ("a: " + "[" * 100_000, "1:", f"more than {MAX_DEPTH} deep"),
        ("{a: " * 100_000, "1:", f"more than {MAX_DEPTH} deep"),
        ("a: [" + "1," * 400_000 + "]", "1:", "more than 20,000 keys and values"),
    ],
)
def test_what_is_refused_is_said_with_its_place(content, place, words):
    found = refused(content)
    assert words in found[0]
    assert place in found[0]


def test_all_faults_are_reported_at_once():
    assert len(refused("a: .nan\na: 010\nb: 0x1\n")) == 4


def test_a_byte_order_mark_is_taken_and_moves_no_place():
    source = parse_yaml(b"\xef\xbb\xbfa: 1\n", "t.yaml")
    assert source.tree == {"a": 1}
    assert source.keys["a",] == (1, 1)


def test_windows_line_ends():
    assert parse_yaml(b"a: 1\r\nb: x\r\n", "t.yaml").tree == {"a": 1, "b": "x"}


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError, match=r"absent\.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


def test_dotted():
    assert dotted(("slo", 0, "limit_s")) == "slo[0].limit_s"
    assert dotted(()) == ""


def test_floats_are_read_exactly():
    assert value("0.1") == 0.1
    assert math.isclose(value("6.02e23"), 6.02e23, rel_tol=0)
