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

Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Distribution(Spec):
    """Lengths in tokens: fixed, uniform or lognormal, cut to [minimum, maximum] where given.

    Of the lognormal, `mean` is the mean in tokens and `sigma` the standard deviation of the log.
    """

    kind: Literal["fixed", "uniform", "lognormal"]
    value: Count | None = None
    mean: Positive | None = None
    sigma: Positive | None = None
    minimum: Count | None = None
    maximum: Count | None = None

    @model_validator(mode="after")
    def _has_its_parameters(self) -> Self:
        needed = {
            "fixed": ("value",),
            "uniform": ("minimum", "maximum"),
            "lognormal": ("mean", "sigma", "minimum", "maximum"),
        }[self.kind]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"a {self.kind} distribution needs '{name}'")
        for name in ("value", "mean", "sigma", "minimum", "maximum"):
            if name not in needed and getattr(self, name) is not None:
                raise ValueError(f"a {self.kind} distribution has no '{name}'")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("'minimum' is above 'maximum'")
        return self

    @property
    def upper(self) -> int:
        """The longest length that can be drawn."""
        limit = self.value if self.kind == "fixed" else self.maximum
        assert limit is not None
        return limit


class LlamaModel(Spec):
    """A Llama-architecture decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

    Without `weights` the parameters are drawn from `seed`: right for speed, blind for quality.
    """

    family: Literal["llama"]
    vocabulary: Count
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    intermediate: Count
    context: Count = 2048
    rope_theta: Positive = 10000.0
    norm_epsilon: Positive = 1e-5
    tied_embeddings: bool = True
    seed: Seed = 0
    weights: Text | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError("'hidden' must be a multiple of 'heads'")
        if self.heads % self.kv_heads:
            raise ValueError("'heads' must be a multiple of 'kv_heads'")
        if (self.hidden // self.heads) % 2:
            raise ValueError("'hidden' / 'heads' must be even (rotary positions)")
        return self


class WhisperModel(Spec):
    """A Whisper-architecture encoder-decoder over log-mel frames (100 frames a second)."""

    family: Literal["whisper"]
    mel_bands: Count = 80
    frames: Count = 3000
    vocabulary: Count
    hidden: Count
    encoder_layers: Count
    decoder_layers: Count
    heads: Count
    text_context: Count = 448
    seed: Seed = 0
    weights: Text | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError("'hidden' must be a multiple of 'heads'")
        if self.frames % 2:
            raise ValueError("'frames' must be even (the second convolution has stride 2)")
        return self


class TreesMlpModel(Spec):
    """Gradient-boosted trees and a multi-layer perceptron; the score is the mean of the two.

    Both are trained, small and in the repository: `weights` names the file.
    """

    family: Literal["trees_mlp"]
    weights: Text


Model = Annotated[LlamaModel | WhisperModel | TreesMlpModel, Field(discriminator="family")]


class PromptInputs(Spec):
    """Prompts of random tokens. Generation runs to the drawn output length, greedy."""

    kind: Literal["prompts"]
    count: Count = 64
    seed: Seed = 0
    prompt_tokens: Distribution
    output_tokens: Distribution


class AudioInputs(Spec):
    """Clips of synthetic speech-like sound, padded to the model's window as log-mel frames."""

    kind: Literal["audio"]
    count: Count = 8
    seed: Seed = 0
    duration_s: Positive = 30.0
    output_tokens: Distribution


class TransactionInputs(Spec):
    """Card transactions as feature rows, drawn from the generator that the model was trained on."""

    kind: Literal["transactions"]
    count: Count = 4096
    seed: Seed = 0


Inputs = Annotated[PromptInputs | AudioInputs | TransactionInputs, Field(discriminator="kind")]


class SingleStream(Spec):
    """One request in flight; the next is issued when the last has ended."""

    kind: Literal["single_stream"]


class Offline(Spec):
    """All requests at time 0, in the largest batches the target takes."""

    kind: Literal["offline"]


class MultiStream(Spec):
    """Queries of `samples` requests, one query in flight; a query ends with its last request."""

    kind: Literal["multi_stream"]
    samples: Annotated[int, Field(gt=1, le=1024)] = 8


Loads = tuple[Annotated[float, Field(gt=0, le=2)], ...]
"""Shares of the rate measured back to back, one operating point each."""


def _must_rise(load: Loads) -> None:
    if list(load) != sorted(set(load)):
        raise ValueError("'load' must be a rising list of shares, for example [0.5, 0.8]")


class Server(Spec):
    """Poisson arrivals, open loop.

    Without `load` the highest rate within the SLO is searched. With it exactly these points are
    measured; a load is a share of the rate measured back to back.
    """

    kind: Literal["server"]
    load: Loads = ()

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _must_rise(self.load)
        return self


class ClosedLoop(Spec):
    """`concurrency` users, each of whom sends the next request when the last one has ended."""

    kind: Literal["closed_loop"]
    concurrency: Annotated[int, Field(gt=0, le=1024)] = 4


class Burst(Spec):
    """Arrivals in clusters, open loop: gamma gaps of shape `shape` at a mean rate of each `load`.

    Counts vary 1 / `shape` times as much as a Poisson process's. With the three `spike_` fields the
    rate is also `spike_factor` times the calm one for `spike_s` in every `spike_every_s`; the mean
    over a whole period stays `load`.
    """

    kind: Literal["burst"]
    load: Annotated[Loads, Field(min_length=1)] = (0.5,)
    shape: Annotated[float, Field(ge=0.01, lt=1)] = 0.25
    spike_factor: Annotated[float, Field(gt=1, le=1000)] | None = None
    spike_s: Positive | None = None
    spike_every_s: Positive | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _must_rise(self.load)
        fields = (self.spike_factor, self.spike_s, self.spike_every_s)
        if any(f is None for f in fields) != all(f is None for f in fields):
            raise ValueError("'spike_factor', 'spike_s' and 'spike_every_s' go together")
        if self.spike_s and self.spike_every_s and self.spike_s >= self.spike_every_s:
            raise ValueError("'spike_s' must be shorter than 'spike_every_s'")
        return self


class Trace(Spec):
    """Recorded arrivals, open loop, `speed` times as fast as they were.

    `file` is a CSV of time_s,input_tokens,output_tokens, relative to the workloads folder.
    """

    kind: Literal["trace"]
    file: Text
    speed: Positive = 1.0


Scenario = Annotated[
    SingleStream | MultiStream | Offline | Server | ClosedLoop | Burst | Trace,
    Field(discriminator="kind"),
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


class ReferenceAgreement(Spec):
    """Agreement of the workload's own model with its fp32 reference on `requests` of the inputs.

    The mean Kullback-Leibler divergence KL(reference || target) in nats per output position. It
    says that the target computes this model, not that the model is good.
    """

    kind: Literal["reference_agreement"]
    requests: Count = 2
    kl_divergence_max: Positive = 0.01


Quality = Annotated[
    TextQuality | SpeechQuality | FraudQuality | ReferenceAgreement, Field(discriminator="kind")
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
        family, inputs = {
            "text_generation": ("llama", "prompts"),
            "speech_to_text": ("whisper", "audio"),
            "tabular_classification": ("trees_mlp", "transactions"),
        }[self.task]
        if self.model.family != family:
            raise ValueError(f"task {self.task} needs a model of family '{family}'")
        if self.inputs.kind != inputs:
            raise ValueError(f"task {self.task} needs inputs of kind '{inputs}'")
        kinds = [s.kind for s in self.scenarios]
        if len(set(kinds)) != len(kinds):
            raise ValueError("'scenarios' names the same kind twice")
        if self.task != "text_generation" and any(s.metric != "latency" for s in self.slo):
            raise ValueError(f"ttft and tpot are for text_generation; {self.task} has 'latency'")
        if isinstance(self.model, LlamaModel) and isinstance(self.inputs, PromptInputs):
            longest = self.inputs.prompt_tokens.upper + self.inputs.output_tokens.upper
            if longest > self.model.context:
                raise ValueError(
                    f"prompt and output together reach {longest} tokens, above the model's context "
                    f"of {self.model.context}"
                )
        if isinstance(self.model, WhisperModel) and isinstance(self.inputs, AudioInputs):
            if self.inputs.output_tokens.upper >= self.model.text_context:
                raise ValueError("'output_tokens' reaches beyond the model's 'text_context'")
            if self.inputs.duration_s * 100 > self.model.frames:
                raise ValueError("'duration_s' is longer than the model's window ('frames' / 100)")
        return self

    def scenario(self, kind: ScenarioKind) -> Scenario:
        """Return the scenario of that kind; KeyError if the workload does not declare it."""
        for scenario in self.scenarios:
            if scenario.kind == kind:
                return scenario
        raise KeyError(kind)
