"""What goes wrong at the hub is told with what to do, and without secrets."""

import errno
import os
import re
import socket
import subprocess
import sys

import pytest

from harness.errors import PrerequisiteError, SpecError, StoreError
from harness.models import hub_client
from harness.models.hub_client import HubFile, download, look_up
from tests.models.hub_folder import llama_folder
from tests.models.hub_server import NAME, RunningHub

pytest.importorskip("huggingface_hub")
TOKEN = "hf_verysecrettoken"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with RunningHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        running.add(llama_folder(tmp_path / "own"))
        yield running


def test_a_name_is_looked_up_with_sizes_and_hashes(hub):
    offer = look_up(NAME, "main")
    assert offer.commit == hub.refs["main"]
    weights, config = offer.files["model.safetensors"], offer.files["config.json"]
    stored = hub.commits[offer.commit].files
    assert weights.size_bytes == len(stored["model.safetensors"])
    assert len(weights.sha256) == 64
    assert (config.sha256, len(config.blob)) == (None, 40)


def test_a_file_comes_as_it_is_and_its_hash_is_returned(hub, tmp_path):
    offer = look_up(NAME, "main")
    for name in ("config.json", "model.safetensors"):
        digest = download(NAME, offer.commit, offer.files[name], tmp_path / "new")
        assert (tmp_path / "new" / name).read_bytes() == hub.commits[offer.commit].files[name]
        assert digest == hub_client.sha256_of(tmp_path / "own" / name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_with_another_hash_is_refused(hub, tmp_path, name):
    hub.altered.add(name)
    offer = look_up(NAME, "main")
    with pytest.raises(StoreError, match=f"{name} of {NAME} at .* not what the hub announced"):
        download(NAME, offer.commit, offer.files[name], tmp_path / "new")


def test_a_file_that_ends_too_early_is_refused(hub, tmp_path):
    hub.cut.add("model.safetensors")
    offer = look_up(NAME, "main")
    with pytest.raises(StoreError, match="is not whole"):
        download(NAME, offer.commit, offer.files["model.safetensors"], tmp_path / "new")


@pytest.mark.parametrize(
    ("status", "code", "kind", "said", "hint"),
    [
        (403, "GatedRepo", PrerequisiteError, "is gated", "accept them at .* set HF_TOKEN"),
        (401, "GatedRepo", PrerequisiteError, "is gated", "set HF_TOKEN"),
        (401, "RepoNotFound", PrerequisiteError, r"status 401.*private or gated", "set HF_TOKEN"),
        (404, "RepoNotFound", SpecError, f"there is no model '{NAME}'", "Organisation/model"),
        (404, "RevisionNotFound", SpecError, "has no revision 'main'", "40 hex digits"),
        (429, "", PrerequisiteError, "status 429", "try again later"),
        (503, "", PrerequisiteError, "status 503", "try again later"),
        (200, "", SpecError, "cannot be asked", "HF_ENDPOINT a hub's address"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(
    hub, monkeypatch, status, code, kind, said, hint
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.refuse = status, code
    with pytest.raises(kind, match=said) as caught:
        look_up(NAME, "main")
    assert re.search(hint, caught.value.hint)
    assert hub.url in caught.value.message
    assert TOKEN not in repr((caught.value.message, caught.value.hint, caught.value.__cause__))


def test_a_token_opens_what_is_gated_and_goes_to_nobody_else(hub, tmp_path, monkeypatch):
    hub.token = TOKEN
    with pytest.raises(PrerequisiteError, match="gated"):
        look_up(NAME, "main")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    offer = look_up(NAME, "main")
    download(NAME, offer.commit, offer.files["model.safetensors"], tmp_path / "new")
    stored = [sent for _, path, sent in hub.asked if path.startswith("/store/")]
    assert stored == [None]


def test_no_network_is_told_with_the_address_but_not_its_password(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://me:{TOKEN}@127.0.0.1:{port}")
    with pytest.raises(PrerequisiteError, match=f"http://127.0.0.1:{port} cannot be reached") as e:
        look_up(NAME, "main")
    assert "'folder'" in e.value.hint
    assert TOKEN not in e.value.message + e.value.hint


def test_a_full_disk_stays_the_disks_error(hub, tmp_path, monkeypatch):
    """The folder that is being written tells it, with its name."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(OSError, match="No space left"):
        download(NAME, "a" * 40, HubFile("config.json", 1, None, None), tmp_path)


def test_offline_is_offline(hub):
    program = (
        "from harness.models.hub_client import look_up\n"
        "from harness.errors import PrerequisiteError\n"
        f"try: look_up({NAME!r}, 'main')\n"
        "except PrerequisiteError as error: print(error.message, error.hint)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "HF_HUB_OFFLINE forbids" in ended.stdout
    assert hub.asked == []


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PrerequisiteError, match="needs the package 'huggingface_hub'") as caught:
        look_up(NAME, "main")
    assert caught.value.hint == "pip install 'accelerator-harness[hub]'"
