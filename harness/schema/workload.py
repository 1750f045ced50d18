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
    Share,
    Spec,
    Task,
    Text,
    Tier,
)
from harness.schema.model import (
    FAMILIES,
    Count,
    LlamaModel,
    Model,
    OnnxFileModel,
    Seed,
    TreeFileModel,
    TreesMlpModel,
    WhisperModel,
)
from harness.schema.scenario import (
    Burst,
    ClosedLoop,
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
    Trace,
)

__all__ = [
    "FAMILIES",
    "Burst",
    "ClosedLoop",
    "Count",
    "LlamaModel",
    "Model",
    "MultiStream",
    "Offline",
    "OnnxFileModel",
    "Scenario",
    "Seed",
    "Server",
    "SingleStream",
    "Trace",
    "TreeFileModel",
    "TreesMlpModel",
    "WhisperModel",
]
"""Of other modules, what is found here too."""

_NEEDED: dict[str, tuple[str, ...]] = {
    "fixed": ("value",),
    "uniform": ("minimum", "maximum"),
    "lognormal": ("mean", "sigma", "minimum", "maximum"),
    "empirical": ("file", "column", "mean", "maximum"),
}
_ALLOWED = {"empirical": ("minimum",)}


def _has_its_parameters(spec: Distribution | Durations) -> None:
    """Raise ValueError unless `spec` has the fields of its kind, and no others."""
    needed = _NEEDED[spec.kind]
    for name in needed:
        if getattr(spec, name) is None:
            raise ValueError(f"a {spec.kind} distribution needs '{name}'")
    for name in type(spec).model_fields:
        known = name in ("kind", *needed, *_ALLOWED.get(spec.kind, ()))
        if not known and getattr(spec, name) is not None:
            raise ValueError(f"a {spec.kind} distribution has no '{name}'")
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        raise ValueError("'minimum' is above 'maximum'")


class Distribution(Spec):
    """Lengths in tokens, cut to [minimum, maximum] where given.

    Fixed, uniform, lognormal, or empirical: drawn from a column of a CSV file, whose first line
    names the columns; two lengths from one file are drawn from the same row. Of the lognormal,
    `mean` is the mean in tokens and `sigma` the standard deviation of the log; of the empirical
    `mean` is that of the file, after the cut: decisions need it, and never read the file.
    """

    kind: Literal["fixed", "uniform", "lognormal", "empirical"]
    value: Count | None = None
    mean: Positive | None = None
    sigma: Positive | None = None
    minimum: Count | None = None
    maximum: Count | None = None
    file: Text | None = None
    column: Text | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _has_its_parameters(self)
        return self

    @property
    def upper(self) -> int:
        """The longest length that can be drawn."""
        limit = self.value if self.kind == "fixed" else self.maximum
        assert limit is not None
        return limit


class Durations(Spec):
    """Durations in seconds: uniform, lognormal or empirical, as of `Distribution`."""

    kind: Literal["uniform", "lognormal", "empirical"]
    mean: Positive | None = None
    sigma: Positive | None = None
    minimum: Positive | None = None
    maximum: Positive | None = None
    file: Text | None = None
    column: Text | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _has_its_parameters(self)
        return self


class SharedPrefix(Spec):
    """A common beginning, such as a system prompt, before `share` of the prompts.

    Each of these begins with one of `prefixes` sequences of `tokens` random tokens, which come on
    top of `prompt_tokens`.
    """

    tokens: Count
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    prefixes: Count = 1


class CardBursts(Spec):
    """Runs of `length` transactions of one card within minutes; `share` of all rows are in one."""

    share: Annotated[float, Field(gt=0, le=1)]
    length: Annotated[int, Field(ge=2, le=1000)] = 8


class Sampled(Spec):
    """Tokens are drawn, not the likeliest: at `temperature`, from the mass `top_p` of likeliest."""

    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class PromptInputs(Spec):
    """Prompts of random tokens. Generation runs to the drawn output length.

    It is greedy without `sampling`; with it each request draws from a seed of its own.
    """

    kind: Literal["prompts"]
    count: Count = 64
    seed: Seed = 0
    prompt_tokens: Distribution
    output_tokens: Distribution
    shared_prefix: SharedPrefix | None = None
    sampling: Sampled | None = None

    @property
    def upper(self) -> int:
        """The most positions that a prompt and its output can take."""
        prefix = self.shared_prefix.tokens if self.shared_prefix else 0
        return prefix + self.prompt_tokens.upper + self.output_tokens.upper


class AudioInputs(Spec):
    """Clips of synthetic speech-like sound, padded to the model's window as log-mel frames."""

    kind: Literal["audio"]
    count: Count = 8
    seed: Seed = 0
    duration_s: Positive | Durations = 30.0
    output_tokens: Distribution

    @property
    def longest_s(self) -> float:
        """The longest clip that can be drawn."""
        longest = self.duration_s
        if isinstance(longest, Durations):
            assert longest.maximum is not None
            return longest.maximum
        return longest


class TransactionInputs(Spec):
    """Card transactions as feature rows, drawn from the generator that the model was trained on."""

    kind: Literal["transactions"]
    count: Count = 4096
    seed: Seed = 0
    bursts: CardBursts | None = None


class RowInputs(Spec):
    """The first `count` rows of your own CSV file, in the file's order (all, if it has fewer).

    The first line names the columns. `columns` are the features in the model's order; left out, all
    columns of the file are. Values are numbers.
    """

    kind: Literal["rows"]
    file: Text
    columns: tuple[Text, ...] = ()
    count: Count = 4096
    seed: Seed = 0

    @model_validator(mode="after")
    def _no_column_twice(self) -> Self:
        for name in self.columns:
            if self.columns.count(name) > 1:
                raise ValueError(f"'columns' names {name!r} twice")
        return self


Inputs = Annotated[
    PromptInputs | AudioInputs | TransactionInputs | RowInputs, Field(discriminator="kind")
]


class SloLimit(Spec):
    """One promise: the `percentile` of `metric` is at most `limit_s`.

    latency: scheduled time to last output. ttft: scheduled time to first token. tpot: (latency -
    ttft) / (tokens - 1), one value per request. See docs/metrics.md.
    """

    metric: Literal["latency", "ttft", "tpot"]
    percentile: Percentile
    limit_s: Positive


class TextQuality(Spec):
    """A small trained language model, scored on held-out bytes through the same adapter."""

    kind: Literal["perplexity"]
    model: LlamaModel
    text: Text
    tokens: Count = 1024
    window: Count = 128
    perplexity_ratio_max: Positive = 1.02
    kl_divergence_max: Positive = 0.01


class SpeechQuality(Spec):
    """A small trained recogniser of spoken digits, scored through the same adapter."""

    kind: Literal["word_error_rate"]
    model: WhisperModel
    audio: Text
    word_error_rate_max: Share
    word_error_rate_rise_max: Share = 0.01


class FraudQuality(Spec):
    """The workload's own trained model, scored on the later part of the time-ordered data."""

    kind: Literal["pr_auc"]
    rows: Count = 5000
    seed: Seed = 1
    pr_auc_ratio_min: Positive = 0.99
    score_difference_max: Positive = 1e-3


class RowQuality(Spec):
    """Your own labelled rows: the first `rows` of a CSV file with the columns of the inputs.

    Scores may differ by `score_difference_max` from an independent fp32 computation of the same
    model. With `label` (a column of 0 and 1) the PR-AUC may fall to `pr_auc_ratio_min` of that
    computation's.
    """

    kind: Literal["labelled_rows"]
    file: Text
    label: Text | None = None
    rows: Count = 5000
    pr_auc_ratio_min: Positive = 0.99
    score_difference_max: Positive = 1e-3


class ReferenceAgreement(Spec):
    """Agreement of the workload's own model with its fp32 reference on `requests` of the inputs.

    The mean Kullback-Leibler divergence KL(reference || target) in nats per output position. It
    says that the target computes this model, not that the model is good.
    """

    kind: Literal["reference_agreement"]
    requests: Count = 2
    kl_divergence_max: Positive = 0.01


Quality = Annotated[
    TextQuality | SpeechQuality | FraudQuality | RowQuality | ReferenceAgreement,
    Field(discriminator="kind"),
]


class Demand(Spec):
    """What the buyer needs of this workload.

    `peak_factor` is the peak hour over the mean hour; `growth_per_year` 0.3 means +30 %.
    `residency` lists the jurisdictions in which data may be processed; empty means anywhere.
    """

    requests_per_month: Positive
    growth_per_year: Annotated[float, Field(ge=-0.9, le=10)] = 0.0
    peak_factor: Annotated[float, Field(ge=1)] = 1.0
    residency: tuple[Name, ...] = ()
    tiers: tuple[Tier, ...] = ("cloud", "on_premises", "edge")


class Workload(Document):
    """A declared workload (`workloads/NAME.yaml`).

    `deadline_s`: a request that is not answered so long after it was due has timed out; it is not
    sent any more, and misses the SLO.
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
        kinds = [s.kind for s in self.scenarios]
        if len(set(kinds)) != len(kinds):
            raise ValueError("'scenarios' names the same kind twice")
        if self.task != "text_generation" and any(s.metric != "latency" for s in self.slo):
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

    def scenario(self, kind: ScenarioKind) -> Scenario:
        """Return the scenario of that kind; KeyError if the workload does not declare it."""
        for scenario in self.scenarios:
            if scenario.kind == kind:
                return scenario
        raise KeyError(kind)

    def files(self) -> dict[tuple[str | int, ...], str]:
        """Return the files that the document names, by their place in it.

        They are relative to the folder of the workloads.
        """
        named: dict[tuple[str | int, ...], str | None] = {}
        model = self.model
        if isinstance(model, TreeFileModel | OnnxFileModel):
            named["model", "file"] = model.file
        else:
            named["model", "weights"] = model.weights
        if isinstance(model, OnnxFileModel):
            named |= {("model", "data", index): name for index, name in enumerate(model.data)}
        if isinstance(self.inputs, RowInputs):
            named["inputs", "file"] = self.inputs.file
        for field in ("prompt_tokens", "output_tokens", "duration_s"):
            drawn = getattr(self.inputs, field, None)
            if isinstance(drawn, Distribution | Durations):
                named["inputs", field, "file"] = drawn.file
        for index, gate in enumerate(self.quality):
            if isinstance(gate, TextQuality | SpeechQuality):
                named["quality", index, "model", "weights"] = gate.model.weights
            if isinstance(gate, TextQuality):
                named["quality", index, "text"] = gate.text
            elif isinstance(gate, SpeechQuality):
                named["quality", index, "audio"] = gate.audio
            elif isinstance(gate, RowQuality):
                named["quality", index, "file"] = gate.file
        for index, scenario in enumerate(self.scenarios):
            if isinstance(scenario, Trace):
                named["scenarios", index, "file"] = scenario.file
        return {place: name for place, name in named.items() if name is not None}
