import json

import jsonschema
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.schema import DOCUMENTS
from tests.factories import make_brief, make_record, make_target, make_workload


def schema(name):
    result = CliRunner().invoke(main, ["schema", name])
    assert result.exit_code == 0
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("workload", make_workload()),
        ("target", make_target()),
        ("brief", make_brief()),
        ("record", make_record()),
    ],
)
def test_documents_follow_their_schema(name, document):
    validator = jsonschema.Draft202012Validator(schema(name))
    tree = document.model_dump(mode="json")
    validator.validate(tree)
    assert not validator.is_valid({**tree, "schema": 2})
    assert not validator.is_valid({**tree, "unknown": 1})


def test_every_document_has_a_schema():
    for name in DOCUMENTS:
        jsonschema.Draft202012Validator.check_schema(schema(name))


def test_an_unknown_document_is_a_usage_error():
    assert CliRunner().invoke(main, ["schema", "targt"]).exit_code == 2
