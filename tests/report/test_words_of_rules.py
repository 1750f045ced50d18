"""Every rule of a decision has its words in the report."""

from typing import get_args

from harness.report import words
from harness.schema.rejection import Rejection


def test_every_rule_has_words_and_no_word_is_of_a_rule_that_is_not_there():
    assert set(words.RULES) == set(get_args(Rejection.model_fields["rule"].annotation))
