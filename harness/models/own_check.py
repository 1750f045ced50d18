"""What is wrong with the files of a user's own that a workload names, before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from harness.errors import SpecError
from harness.models.answers import read_questions
from harness.models.gguf_header import own_gguf
from harness.models.hub import on_hub, placed_if_there
from harness.models.inputs import draw_requests
from harness.models.own_audio import transcribed
from harness.models.own_folder import check_headers, known
from harness.models.own_model import own_features
from harness.models.own_quality import tokenizer_of
from harness.models.row_quality import judged_rows
from harness.models.rows import input_rows
from harness.schema.inputs import RowInputs
from harness.schema.model import GgufModel, HuggingFaceModel, OnnxFileModel, TreeFileModel
from harness.schema.own import AudioFileInputs, ExactAnswers, OwnText, PromptFileInputs, Transcripts
from harness.schema.quality import RowQuality
from harness.schema.workload import Workload

Place = tuple[str | int, ...]


def faults(workload: Workload, data: Path, cache: Path) -> Iterator[tuple[Place, SpecError]]:
    """Yield what is wrong, with the place in the document that names the file.

    The model first: without it neither inputs nor gates can be looked at. Of weights the header is
    read; their values are the cell's matter. Of a model on the hub that is not in
    `cache` nothing is known yet. What is wrong with a file that two places name is said once.
    """
    hub = on_hub(workload)
    workload = placed_if_there(workload, cache)
    if on_hub(workload) is not None:
        return
    said: set[str] = set()
    for place, error in _faults(workload, data, "folder" if hub is None else "hub"):
        if str(error) not in said:
            said.add(str(error))
            yield place, error


def _faults(workload: Workload, data: Path, named: str) -> Iterator[tuple[Place, SpecError]]:
    model = workload.model
    found = list(_of_model(workload, data, named))
    yield from found
    if found:
        return
    if isinstance(workload.inputs, PromptFileInputs | AudioFileInputs):
        named = "list" if getattr(workload.inputs, "list", None) else "file"
        place = "files" if getattr(workload.inputs, "files", ()) else named
        yield from _tried(("inputs", place), lambda: draw_requests(workload, data))
    if isinstance(workload.inputs, RowInputs) and isinstance(model, TreeFileModel | OnnxFileModel):
        rows = list(_tried(("inputs", "file"), partial(input_rows, workload.inputs, model, data)))
        yield from rows
        if rows:
            return
    if isinstance(model, HuggingFaceModel):
        workload = workload.model_copy(update={"model": known(model, workload.task, data)})
    for index, gate in enumerate(workload.quality):
        if isinstance(gate, ExactAnswers):
            yield from _tried(("quality", index, "file"), partial(read_questions, gate, data))
        elif isinstance(gate, Transcripts):
            yield from _tried(("quality", index, "list"), partial(transcribed, gate, data))
        elif isinstance(gate, RowQuality):
            yield from _tried(
                ("quality", index, "file"), partial(judged_rows, gate, workload, data)
            )
        if isinstance(gate, ExactAnswers | OwnText | Transcripts) and gate.tokenizer is not None:
            place_of = ("quality", index, "tokenizer")
            yield from _tried(place_of, partial(tokenizer_of, gate, workload, data))


def _of_model(workload: Workload, data: Path, named: str) -> Iterator[tuple[Place, SpecError]]:
    model = workload.model
    if isinstance(model, HuggingFaceModel):
        yield from _tried(("model", named), lambda: check_headers(model, workload.task, data))
    elif isinstance(model, GgufModel):
        yield from _tried(("model", "file"), lambda: own_gguf(model, data))
    elif isinstance(model, TreeFileModel | OnnxFileModel):
        yield from _tried(("model", "file"), lambda: own_features(model, data))


def _tried(place: Place, read: Callable[[], object]) -> Iterator[tuple[Place, SpecError]]:
    try:
        read()
    except SpecError as error:
        yield place, error
