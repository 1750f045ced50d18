"""Asks the Hugging Face hub: which commit a name stands for, which files it has, and their bytes.

Through the package huggingface_hub, which honours HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE. Texts
of errors are our own throughout: those of the library may hold addresses that are secrets.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import PrerequisiteError, SpecError, StoreError
from harness.files import sha256_of

PATIENCE_S = 30.0
CHUNK_BYTES = 1 << 20
ELSEWHERE = "or fetch the files by other means and name their folder as 'folder'"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the hub; what the hub does not say of it is None.

    Of large files it says the sha256, of others the id of the blob in git: the sha1 of a header and
    the content (git-scm.com/book, "Git Internals - Git Objects").
    """

    name: str
    size_bytes: int | None
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a repository has at one commit, by name."""

    commit: str
    files: Mapping[str, HubFile]


def look_up(hub: str, revision: str) -> Offer:
    """Return the commit that `revision` of `hub` stands for now, and its files.

    Raises PrerequisiteError where the hub cannot be asked or wants a token, SpecError if there is
    no such name or revision.
    """
    with _told(hub, revision):
        from huggingface_hub import HfApi

        found = HfApi(endpoint=_endpoint()).model_info(
            hub, revision=revision, files_metadata=True, timeout=PATIENCE_S
        )
    files = [
        HubFile(
            each.rfilename,
            each.size,
            None if each.lfs is None else each.lfs.sha256,
            each.blob_id if each.lfs is None else None,
        )
        for each in found.siblings or ()
    ]
    if found.sha is None:
        raise StoreError(
            f"{_shown_endpoint()} does not say which commit {hub} at {revision} is",
            hint="is HF_ENDPOINT the address of a hub?",
        )
    return Offer(found.sha, {file.name: file for file in files})


def download(hub: str, commit: str, file: HubFile, folder: Path) -> str:
    """Write `file` to `folder` and return its sha256 (hex).

    Raises as `look_up` does, and StoreError if what came is not what the hub announced.
    """
    with _told(hub, commit), warnings.catch_warnings():
        # Of little disk space: that is asked before, for all files at once.
        warnings.simplefilter("ignore", UserWarning)
        from huggingface_hub import hf_hub_download

        hf_hub_download(hub, file.name, revision=commit, local_dir=folder, endpoint=_endpoint())
    path = folder / file.name
    digest, size = sha256_of(path), path.stat().st_size
    wrong = file.size_bytes is not None and size != file.size_bytes
    if file.sha256 is not None:
        wrong |= digest != file.sha256
    elif file.blob is not None:
        wrong |= _blob_of(path, size) != file.blob
    if wrong:
        raise StoreError(
            f"{file.name} of {hub} at {commit} is not what the hub announced: its size or hash is "
            "another",
            hint="try again; if it stays so, what lies between here and the hub changes files",
        )
    return digest


def _blob_of(path: Path, size: int) -> str:
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _shown_endpoint() -> str:
    """Return the address of the hub without a user and password."""
    parts = urlsplit(_endpoint())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextlib.contextmanager
def _told(hub: str, revision: str) -> Iterator[None]:
    """Turn what the library raises into errors of the harness."""
    try:
        import httpx2
        from huggingface_hub import errors
    except ImportError as error:
        raise PrerequisiteError(
            f"the model {hub} is on the hub, which needs the package 'huggingface_hub': {error}",
            hint="pip install 'accelerator-harness[hub]'",
        ) from error
    where = _shown_endpoint()
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise PrerequisiteError(
            f"{hub} at {revision} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it",
            hint=f"unset HF_HUB_OFFLINE, {ELSEWHERE}",
        ) from None
    except errors.GatedRepoError:
        raise PrerequisiteError(
            f"{hub} is gated: {where} gives it only to those who accepted its terms",
            hint=f"accept them at {where}/{hub}, and set HF_TOKEN to a token of that account",
        ) from None
    except errors.RevisionNotFoundError:
        raise SpecError(
            f"{hub} has no revision '{revision}' on {where}",
            hint="name a branch, a tag or a commit of 40 hex digits",
        ) from None
    except errors.HfHubHTTPError as error:
        raise _refused(error.response.status_code, hub, where) from None
    except errors.LocalEntryNotFoundError as error:
        # What the library says when asking for a file failed; the cause is why.
        cause = error.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            raise _refused(cause.response.status_code, hub, where) from None
        raise _unreachable(hub, where, cause or error) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(hub, where, error) from None
    except ValueError as error:
        # An answer that is no JSON, a name that the library's own rules forbid.
        raise SpecError(
            f"{where} cannot be asked for {hub}: {type(error).__name__}",
            hint="is 'hub' a name such as Organisation/model, and HF_ENDPOINT a hub's address?",
        ) from None
    except OSError as error:
        if error.errno is not None:  # the disk's; whoever writes the folder tells it
            raise
        raise StoreError(
            f"what came of {hub} at {revision} is not whole", hint="try again"
        ) from None
    except (errors.XetDownloadError, RuntimeError) as error:  # of the hub's store of large files
        raise _unreachable(hub, where, error) from None


def _refused(status: int, hub: str, where: str) -> PrerequisiteError | SpecError:
    if status in (401, 403):
        token = "the token in HF_TOKEN does not open it" if _has_token() else "no token is set"
        return PrerequisiteError(
            f"{where} does not give {hub} (status {status}): there is no such model, or it is "
            f"private or gated and {token}",
            hint=f"look at {where}/{hub}, and set HF_TOKEN to a token that may read it",
        )
    if status == 404:
        return SpecError(
            f"there is no model '{hub}' on {where}",
            hint="'hub' is a name such as Organisation/model",
        )
    return PrerequisiteError(
        f"{where} answers with status {status} to a question about {hub}",
        hint=f"try again later, {ELSEWHERE}",
    )


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _unreachable(hub: str, where: str, error: BaseException) -> PrerequisiteError:
    return PrerequisiteError(
        f"{where} cannot be reached for {hub}: {type(error).__name__}",
        hint=f"is there a network? HF_ENDPOINT names a mirror; {ELSEWHERE}",
    )
