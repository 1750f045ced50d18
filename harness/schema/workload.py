"""A workload: what is run, on which inputs, under which traffic, and what counts as good enough."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.schema.base import (
    Document,
    Name,
    Percentile,
    Positive,
    ScenarioKind,
    Spec,
    Task,
    Text,
    absent,
)
from harness.schema.demand import Demand
from harness.schema.inputs import AudioInputs, Inputs, PromptInputs, RowInputs
from harness.schema.lengths import Distribution, Durations
from harness.schema.model import (
    FAMILIES,
    Count,
    GgufModel,
    HuggingFaceModel,
    LlamaModel,
    Model,
    OnnxFileModel,
    ServedModel,
    TreeFileModel,
    WhisperModel,
)
from harness.schema.own import AudioFileInputs, ExactAnswers, OwnText, PromptFileInputs, Transcripts
from harness.schema.quality import (
    GATES_OF_SERVED,
    TASK_OF_OWN_GATE,
    FraudQuality,
    Quality,
    RowQuality,
    SpeechQuality,
    TextQuality,
    VectorAgreement,
)
from harness.schema.scenario import Scenario, Trace
from harness.schema.tasks import AgentTask, Turns, task_problem


class SloLimit(Spec):
    """One promise: the `percentile` of `metric` is at most `limit_s`.

    latency: scheduled time to last output. ttft: scheduled time to first token. tpot: (latency -
    ttft) / (tokens - 1), one value per request. task_latency: scheduled time of a task's first
    call to the end of its last, one value per task. See docs/metrics.md.
    """

    metric: Literal["latency", "ttft", "tpot", "task_latency"]
    percentile: Percentile
    limit_s: Positive


class Workload(Document):
    """A declared workload (`workloads/NAME.yaml`).

    `deadline_s`: a request that is not answered so long after it was due has timed out; it is not
    sent any more, and misses the SLO. `agent`: requests come as the calls of tasks.
    """

    name: Name
    version: Count
    title: Text
    description: Text
    task: Task
    model: Model
    inputs: Inputs
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    deadline_s: Positive | None = None
    agent: AgentTask | None = Field(default=None, exclude_if=absent)
    slo: Annotated[tuple[SloLimit, ...], Field(min_length=1)]
    quality: Annotated[tuple[Quality, ...], Field(min_length=1)]
    demand: Demand

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        families = FAMILIES[self.task]
        inputs = families.get(self.model.family)
        if inputs is None:
            named = " or ".join(f"'{family}'" for family in families)
            raise ValueError(f"task {self.task} needs a model of family {named}")
        if self.inputs.kind not in inputs:
            named = " or ".join(f"'{kind}'" for kind in inputs)
            raise ValueError(
                f"task {self.task} with a model of family '{self.model.family}' needs inputs of "
                f"kind {named}"
            )
        for gate in self.quality:
            if isinstance(gate, FraudQuality) and self.model.family != "trees_mlp":
                raise ValueError(
                    "the gate 'pr_auc' is for the harness's own fraud model; your own model has "
                    "the gate 'labelled_rows'"
                )
            if isinstance(gate, RowQuality) and not isinstance(self.inputs, RowInputs):
                raise ValueError("the gate 'labelled_rows' needs inputs of kind 'rows'")
            if isinstance(gate, VectorAgreement) != (self.task == "text_embedding"):
                raise ValueError(
                    "task text_embedding has the gate 'vector_agreement', and no other task has it"
                )
            if self.model.family == "gguf" and gate.kind in ("reference_agreement", "own_text"):
                raise ValueError(
                    f"the gate '{gate.kind}' reads the weights, which are not read of a GGUF file: "
                    "use the gate 'exact_answers'"
                )
            wanted = GATES_OF_SERVED.get(self.task)
            if isinstance(self.model, ServedModel) and gate.kind != wanted:
                raise ValueError(
                    f"the gate '{gate.kind}' computes with the model, and a served one gives no "
                    f"logits: use the gate '{wanted}'"
                )
            task = TASK_OF_OWN_GATE.get(gate.kind)
            if task not in (None, self.task):
                raise ValueError(f"the gate '{gate.kind}' is for {task}, not for {self.task}")
        if (
            isinstance(self.inputs, PromptFileInputs)
            and not isinstance(self.model, ServedModel | HuggingFaceModel)
            and not self.tokenizer(self.inputs)
        ):
            raise ValueError(
                "your own prompts need 'inputs.tokenizer', the model's tokenizer.json, for a model "
                f"of family '{self.model.family}'"
            )
        kinds = [s.kind for s in self.scenarios]
        if len(set(kinds)) != len(kinds):
            raise ValueError("'scenarios' names the same kind twice")
        stated = self.demand.agent
        problem = task_problem(
            self.agent,
            self.turns,
            tuple(kinds),
            tuple(limit.metric for limit in self.slo),
            None if stated is None else (stated.calls_per_task, stated.order),
        )
        if problem is not None:
            raise ValueError(problem)
        if self.task != "text_generation" and any(s.metric in ("ttft", "tpot") for s in self.slo):
            raise ValueError(f"ttft and tpot are for text_generation; {self.task} has 'latency'")
        if isinstance(self.model, LlamaModel) and isinstance(self.inputs, PromptInputs):
            longest = self.inputs.upper
            if longest > self.model.context:
                raise ValueError(
                    f"prompt and output together reach {longest} tokens, above the model's context "
                    f"of {self.model.context}"
                )
        if isinstance(self.model, WhisperModel) and isinstance(self.inputs, AudioInputs):
            if self.inputs.output_tokens.upper >= self.model.text_context:
                raise ValueError("'output_tokens' reaches beyond the model's 'text_context'")
            if self.inputs.longest_s * 100 > self.model.frames:
                raise ValueError("'duration_s' is longer than the model's window ('frames' / 100)")
        return self

    @property
    def turns(self) -> Turns | None:
        """The turns of its conversations; None if each request is alone, or a call of a task."""
        return self.inputs.turns if isinstance(self.inputs, PromptInputs) else None

    def scenario(self, kind: ScenarioKind) -> Scenario:
        """Return the scenario of that kind; KeyError if the workload does not declare it."""
        for scenario in self.scenarios:
            if scenario.kind == kind:
                return scenario
        raise KeyError(kind)

    def tokenizer(
        self, part: PromptFileInputs | ExactAnswers | OwnText | Transcripts
    ) -> str | None:
        """Return the tokenizer.json of `part`: the one it names, else the model's own folder's.

        None as well while the model is still on the hub: its folder is not known.
        """
        model = self.model
        if part.tokenizer is None and isinstance(model, HuggingFaceModel) and model.folder:
            return f"{model.folder}/tokenizer.json"
        return part.tokenizer

    def files(self) -> dict[tuple[str | int, ...], str]:
        """Return the files that the document names, by their place in it.

        They are relative to the folder of the workloads.
        """
        named: dict[tuple[str | int, ...], str | None] = {}
        model = self.model
        if isinstance(model, TreeFileModel | OnnxFileModel | GgufModel):
            named["model", "file"] = model.file
        elif isinstance(model, HuggingFaceModel):
            if model.folder is not None:  # the hub's are told by their commit
                named["model", "folder"] = f"{model.folder}/config.json"
                named["model", "weights"] = f"{model.folder}/{model.weights}"
        elif not isinstance(model, ServedModel):
            named["model", "weights"] = model.weights
        if isinstance(model, OnnxFileModel):
            named |= {("model", "data", index): name for index, name in enumerate(model.data)}
        if isinstance(self.inputs, RowInputs | PromptFileInputs):
            named["inputs", "file"] = self.inputs.file
        if isinstance(self.inputs, PromptFileInputs):
            named["inputs", "tokenizer"] = self.tokenizer(self.inputs)
        if isinstance(self.inputs, AudioFileInputs):
            named["inputs", "list"] = self.inputs.list
            named |= {("inputs", "files", i): name for i, name in enumerate(self.inputs.files)}
        for field in ("prompt_tokens", "output_tokens", "words", "duration_s"):
            drawn = getattr(self.inputs, field, None)
            if isinstance(drawn, Distribution | Durations):
                named["inputs", field, "file"] = drawn.file
        turns = self.turns
        if turns is not None and isinstance(turns.think_s, Durations):
            named["inputs", "turns", "think_s", "file"] = turns.think_s.file
        for index, gate in enumerate(self.quality):
            if isinstance(gate, TextQuality | SpeechQuality):
                named["quality", index, "model", "weights"] = gate.model.weights
            if isinstance(gate, TextQuality):
                named["quality", index, "text"] = gate.text
            elif isinstance(gate, SpeechQuality):
                named["quality", index, "audio"] = gate.audio
            elif isinstance(gate, RowQuality | VectorAgreement | ExactAnswers | OwnText):
                named["quality", index, "file"] = gate.file
            elif isinstance(gate, Transcripts):
                named["quality", index, "list"] = gate.list
            if isinstance(gate, ExactAnswers | OwnText | Transcripts):
                named["quality", index, "tokenizer"] = self.tokenizer(gate)
        for index, scenario in enumerate(self.scenarios):
            if isinstance(scenario, Trace):
                named["scenarios", index, "file"] = scenario.file
        return {place: name for place, name in named.items() if name is not None}
