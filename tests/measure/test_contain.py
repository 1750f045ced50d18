"""A cell's process keeps to the memory that it is given, and to a tighter limit that it found."""

import subprocess
import sys

import pytest

CODE = """
import resource
from harness.measure.cell import _contain
resource.setrlimit(resource.RLIMIT_AS, ({found}, {found}))
_contain({given})
print(resource.getrlimit(resource.RLIMIT_AS))
"""
GIB = 2**30


@pytest.mark.parametrize(
    ("found", "given", "kept"), [(20 * GIB, 30 * GIB, 20 * GIB), (-1, 30 * GIB, 30 * GIB)]
)
def test_a_tighter_limit_of_memory_stays(found, given, kept):
    code = CODE.format(found=found, given=given)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == f"({kept}, {kept})\n"
