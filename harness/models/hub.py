"""Models on the Hugging Face hub: pinned to a commit, fetched once, and then a folder like others.

In the cache a model is `hub-<hash of name and weights>/<commit>`, beside what its branches and tags
stood for when they were first looked up. Only config.json, tokenizer.json and the safetensors
weights are fetched: nothing that could be unpickled or run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.data_files import SHARDS, shards_of
from harness.errors import PrerequisiteError, SpecError, StoreError
from harness.files import sha256_of, write_whole
from harness.models.build import build_once
from harness.models.hub_client import HubFile, Offer, download, look_up
from harness.models.own_folder import check_kind
from harness.schema.base import Task
from harness.schema.model import COMMIT, HuggingFaceModel, Model
from harness.schema.workload import Workload

FETCHED = "fetched.json"
"""Says what was fetched, with sizes and hashes; it is written last."""
ROOM = "free some disk space or set HARNESS_CACHE"


@dataclass(frozen=True, slots=True)
class Missing:
    """A model that is not in the cache, and how many bytes it is.

    `size_bytes` is None where the hub cannot be asked, or does not say it: then `reason` says why.
    """

    model: HuggingFaceModel
    size_bytes: int | None
    reason: str | None


def on_hub(workload: Workload) -> HuggingFaceModel | None:
    """Return the model of `workload` if it is on the hub."""
    model = workload.model
    return model if isinstance(model, HuggingFaceModel) and model.hub is not None else None


def folder_name(model: HuggingFaceModel) -> str:
    """Return the name of the folder in the cache that holds all commits of `model`."""
    digest = hashlib.sha256(f"{model.hub}\n{model.weights}".encode()).hexdigest()
    return f"hub-{digest[:16]}"


def pinned(workload: Workload, cache: Path, *, again: bool = False) -> Workload:
    """Return `workload` with the commit of its model on the hub as its revision.

    A branch or tag is looked up once, and stands for that commit from then on; `again` looks it up
    again. Without a model on the hub, or with a commit, `workload` as it is. Raises as `look_up`.
    """
    model = on_hub(workload)
    if model is None or model.commit is not None:
        return workload
    assert model.hub is not None
    commit = None if again else _kept_commit(model, cache)
    if commit is None:
        commit = look_up(model.hub, model.revision or "main").commit
        if not COMMIT.fullmatch(commit):
            raise StoreError(f"the hub says that {model.source} is the commit {commit!r:.80}")
        write_whole(_pin(model, cache), commit, hint=ROOM)
    return _with_model(workload, model.model_copy(update={"revision": commit}))


def missing(model: HuggingFaceModel, cache: Path) -> Missing | None:
    """Return what of `model`, which is pinned, must be fetched; None if it is in the cache."""
    if _path(model, cache).exists():
        return None
    try:
        files = _wanted(model, look_up(*_name(model)))
    except (PrerequisiteError, StoreError) as error:
        return Missing(model, None, error.message)
    total = _total(files)
    return Missing(model, total, None if total is not None else "the hub does not say it")


def fetch(
    model: HuggingFaceModel, task: Task, cache: Path, tell: Callable[[HubFile], None]
) -> None:
    """Bring `model`, which is pinned, into the cache, whole or not at all; `tell` of each file.

    What is there already is held against its hashes, as a local folder's files are hashed for each
    run. Raises as `look_up`; SpecError if the repository is no model that can be built; StoreError
    if the disk is full or a file's hash is wrong.
    """
    hub, commit = _name(model)
    path = _path(model, cache)
    if path.exists():
        _check(path, model)
        return
    offer = look_up(hub, commit)
    if offer.commit != commit:
        raise StoreError(f"asked for {hub} at {commit}, the hub answers with {offer.commit}")
    expected = _wanted(model, offer)

    def build(folder: Path) -> None:
        total, free = _total(expected), shutil.disk_usage(folder).free
        if total is not None and total > free:
            raise StoreError(
                f"{model.source} has {total:,} bytes; the disk of {cache} has {free:,} left",
                hint=ROOM,
            )
        digests = {}

        def take(name: str) -> None:
            file = offer.files[name]
            tell(file)
            digests[name] = download(hub, commit, file, folder)

        take("config.json")
        check_kind(folder / "config.json", task)  # before gigabytes that are of no use
        take(model.weights)
        if model.weights.endswith(SHARDS):
            for name in (shard.name for shard in shards_of(folder / model.weights)):
                if not name.endswith(".safetensors") or name not in offer.files:
                    raise SpecError(
                        f"{model.weights} of {model.source} lists '{name:.80}', which is no "
                        "safetensors file there"
                    )
                take(name)
        if "tokenizer.json" in offer.files:
            take("tokenizer.json")
        # What the library keeps for downloads that go on later.
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        told = {"hub": hub, "revision": commit, "files": dict(sorted(digests.items()))}
        write_whole(folder / FETCHED, json.dumps(told, indent=1) + "\n")

    build_once(path, build)


def placed(workload: Workload, cache: Path) -> Workload:
    """Return `workload` with its model on the hub as the folder of the cache that it is in.

    `workload` as it is without one. PrerequisiteError if the cache does not have it.
    """
    there = placed_if_there(workload, cache)
    model = on_hub(there)
    if model is None:
        return there
    raise PrerequisiteError(
        f"the model {model.source} is not in the cache {cache}",
        hint=f"harness models build {workload.name} fetches it",
    )


def placed_if_there(workload: Workload, cache: Path) -> Workload:
    """Return `placed`, or `workload` as it is if the cache does not have its model."""
    model = on_hub(workload)
    commit = None if model is None else model.commit or _kept_commit(model, cache)
    if model is None or commit is None:
        return workload
    path = _path(model.model_copy(update={"revision": commit}), cache)
    if not path.exists():
        return workload
    update = {"folder": str(path.absolute()), "hub": None, "revision": None}
    return _with_model(workload, model.model_copy(update=update))


def told_of_hub(declared: Model, in_folder: Workload) -> dict[str, object]:
    """Return what a record says of a model that was `declared` by its name on the hub.

    Its name, its commit and the sha256 of each file; `in_folder` is its workload, `placed`.
    """
    model = in_folder.model
    if not isinstance(declared, HuggingFaceModel) or not isinstance(model, HuggingFaceModel):
        return {}
    if declared.hub is None or model.folder is None:
        return {}
    return {"model_source": _fetched(Path(model.folder))}


def _with_model(workload: Workload, model: HuggingFaceModel) -> Workload:
    return workload.model_copy(update={"model": model})


def _name(model: HuggingFaceModel) -> tuple[str, str]:
    assert model.hub is not None, "a folder is not looked for on the hub"
    assert model.commit is not None, "pinned before it is looked for"
    return model.hub, model.commit


def _path(model: HuggingFaceModel, cache: Path) -> Path:
    return cache / folder_name(model) / _name(model)[1]


def _pin(model: HuggingFaceModel, cache: Path) -> Path:
    # A folder of its own, so that it is listed and cleared as the models are.
    return cache / folder_name(model) / quote(f"at-{model.revision or 'main'}", safe="") / "commit"


def _kept_commit(model: HuggingFaceModel, cache: Path) -> str | None:
    try:
        commit = _pin(model, cache).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _wanted(model: HuggingFaceModel, offer: Offer) -> list[HubFile]:
    """Return the files of `offer` that are fetched.

    Which shards there are, the index says, once it is here: till then, all that look like its.
    Raises SpecError if there are no weights that can be read.
    """
    for name in ("config.json", model.weights):
        if name in offer.files:
            continue
        hint = "only models with a config.json and safetensors weights can be fetched"
        others = sorted(n for n in offer.files if n.endswith((SHARDS, ".safetensors")))
        if name == model.weights and others:
            index = [n for n in others if n.endswith(SHARDS)]
            hint = f"write under 'model': weights: {(index or others)[0]}"
        raise SpecError(f"there is no {name} in {model.source} on the hub", hint=hint)
    names = {"config.json", model.weights, "tokenizer.json"} & offer.files.keys()
    if model.weights.endswith(SHARDS):
        begin = f"{model.weights.removesuffix(SHARDS)}-"
        names |= {n for n in offer.files if n.startswith(begin) and n.endswith(".safetensors")}
    return [offer.files[name] for name in sorted(names)]


def _total(files: list[HubFile]) -> int | None:
    """Return the bytes of `files`; None if the size of one is not known."""
    sizes = [file.size_bytes for file in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _fetched(path: Path) -> dict[str, object]:
    try:
        told = json.loads((path / FETCHED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is not whole: {FETCHED} cannot be read ({type(error).__name__})",
            hint=f"remove {path}, and it is fetched again",
        ) from error
    if not isinstance(told, dict) or not isinstance(told.get("files"), dict):
        raise StoreError(f"{path / FETCHED} is not what was written there", hint=f"remove {path}")
    return told


def _check(path: Path, model: HuggingFaceModel) -> None:
    files = _fetched(path)["files"]
    assert isinstance(files, dict)
    for name, digest in files.items():
        try:
            same = sha256_of(path / name) == digest
        except OSError:
            same = False
        if not same:
            raise StoreError(
                f"{path / name} is no more the file that was fetched from {model.source}",
                hint=f"remove {path}, and it is fetched again",
            )
