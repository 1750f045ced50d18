"""What a served target needs on this machine before a cell of it can run."""

from __future__ import annotations

import importlib.util

from harness.adapters.http.grpc_client import INSTALL
from harness.adapters.http.proxy import find_proxy
from harness.adapters.http.secrets import find_key
from harness.errors import PrerequisiteError
from harness.schema.base import Task
from harness.schema.server import Protocol, ServerAddress

TASKS: dict[Protocol, tuple[Task, ...]] = {
    "openai-chat": ("text_generation",),
    "openai-completions": ("text_generation",),
    "openai-embeddings": ("text_embedding",),
    "openai-transcriptions": ("speech_to_text",),
    "oip-http": ("tabular_classification", "speech_to_text"),
    "oip-grpc": ("tabular_classification", "speech_to_text"),
}


TENSORS: tuple[Protocol, ...] = ("oip-http", "oip-grpc")
"""They take numbers, so that what is sent must be computed here."""


def unserved(server: ServerAddress, task: Task, family: str) -> str | None:
    """Return why the server's protocol cannot answer `task` of a model of `family`; None: it can.

    Only a model that is declared says which features its recordings are made into.
    """
    if task in TASKS[server.protocol]:
        if task == "speech_to_text" and family == "served" and server.protocol in TENSORS:
            return (
                f"{server.protocol} takes features, and which ones a served model has is not "
                "declared: send the recordings as they are over openai-transcriptions, or declare "
                "the model (family whisper, or hugging_face with its folder)"
            )
        return None
    fitting = [protocol for protocol, tasks in TASKS.items() if task in tasks]
    return f"{server.protocol} does not serve {task}; {' and '.join(fitting)} would"


def lacking(server: ServerAddress) -> str | None:
    """Return what is missing to ask `server`, and what to do; None if nothing. Asks nobody."""
    if server.protocol == "oip-grpc":
        for package in ("grpc", "google.protobuf"):
            if not _installed(package):
                return f"the package '{package}' is not installed ({INSTALL})"
    try:
        find_key(server.api_key)
        find_proxy(server)
    except PrerequisiteError as error:
        return f"{error.message} ({error.hint})"
    return None


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # its parent is missing, or it is blocked
        return False
