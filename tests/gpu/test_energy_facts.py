"""The script for a GPU machine runs here too, over the fake driver, to be ready when needed."""

import json
import shutil

import pytest

from tests.gpu import energy_facts


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler"
)
def test_the_dry_run_answers_every_question(tmp_path, capsys):
    path = tmp_path / "facts.json"
    assert energy_facts.main(["--dry", "--out", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["simulated"] is True
    sections = found["sections"]
    assert not [name for name, section in sections.items() if "error" in section]
    assert sections["ticks"]["period_ms"]["p50"] == pytest.approx(10, rel=0.5)
    assert sections["machine"]["provenance"] == "counter"
    assert sections["fields"]["instant.gpu"] == pytest.approx(350, rel=0.01)
    assert sections["fields"]["instant.memory"] is None
    # The fake draws 350 W whatever the load, so a mean over any wave is that.
    for section in sections["squares"].values():
        assert section["counter_w"] == pytest.approx(350, rel=0.25)
    assert "14 of 14" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert energy_facts.main(["--out", str(tmp_path / "facts.json")]) == 3
    assert "torch sees no GPU" in capsys.readouterr().err
    assert not (tmp_path / "facts.json").exists()
