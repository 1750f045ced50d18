"""Do the quality gates pass what is good, and catch what is ruined?

The gates are the workloads' own, on the trained models in the repository, through the real
adapters. Good: every runtime in fp32, int8 and int4 where it is offered. Ruined: models whose
weights or inputs are wrong in ways that runtimes and quantisers are known to be, and that leave the
speed as it is; of a layer that may be hit, the one where it does least. A ruined one is caught if
any check of the gate fails.

Graded: one layer's weights with more and more noise. What moves the answers less than sound int4
does must pass as int4 does; `caught_from` is the least noise, in standard deviations of the
weights, that the gate refuses in each layer.

`--fast` leaves out the runtimes but ONNX Runtime, and the grades.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import save_file

from harness import plugins
from harness.catalog import Catalog
from harness.cli.run import cache_folder
from harness.errors import PrerequisiteError
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from harness.models.audio import SAMPLE_RATE
from harness.models.build import build_model
from harness.models.quality import evaluate, quality_model
from harness.models.transactions import NAMES

FAMILIES = {"text": "llm-chat", "speech": "speech-to-text", "fraud": "fraud-detection"}
ORT = "cpu-onnxruntime"
GOOD = {
    "text": (
        *(ORT, f"{ORT}-int8", f"{ORT}-int4", "cpu-openvino", "cpu-torch"),
        *("cpu-genai", "cpu-genai-int4"),
        *("cpu-llama-cpp-f16", "cpu-llama-cpp-q8-0", "cpu-llama-cpp-q4-0"),
    ),
    "speech": (ORT, f"{ORT}-int8", f"{ORT}-int4", "cpu-openvino", "cpu-torch"),
    "fraud": (ORT, "cpu-openvino", "cpu-torch"),
}
SWAPPED = ("amount_over_usual", "merchant_risk")
GRADES = (0.1, 0.2, 0.3, 0.5, 1.0)
BLOCK = 32


def rounded(matrix):
    """Int8 weights with a scale for each row: as good as a quantiser can be."""
    step = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-12) / 127
    return np.rint(matrix / step) * step


def ternary(matrix):
    """Each weight is -a, 0 or a, with one a for each row."""
    size = np.abs(matrix)
    kept = size > 0.7 * size.mean(axis=1, keepdims=True)
    mean = (size * kept).sum(axis=1, keepdims=True) / np.maximum(kept.sum(axis=1, keepdims=True), 1)
    return np.sign(matrix) * kept * mean


def three_bits(matrix):
    """Blocks of 32 weights in 3 bits: one bit less than a sound quantiser has."""
    count = matrix.shape[1]
    blocks = np.pad(matrix, ((0, 0), (0, -count % BLOCK))).reshape(len(matrix), -1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    step = np.where(largest == 0, 1, largest) / -4
    return (np.clip(np.rint(blocks / step), -4, 3) * step).reshape(len(matrix), -1)[:, :count]


def noisy(share, seed=0):
    """White noise of `share` of each matrix's standard deviation."""
    rng = np.random.default_rng(seed)
    return lambda matrix: matrix + share * matrix.std() * rng.standard_normal(matrix.shape)


def a_tenth_lost(matrix):
    """One weight in ten is another weight of the same matrix."""
    rng = np.random.default_rng(0)
    others = rng.permutation(matrix.ravel()).reshape(matrix.shape)
    return np.where(rng.random(matrix.shape) < 0.1, others, matrix)


def half_the_heads(matrix):
    """Of a matrix that mixes the heads: the second half of them counts for nothing."""
    kept = matrix.copy()
    kept[:, kept.shape[1] // 2 :] = 0
    return kept


def matrices(change, named=""):
    """`change` each matrix whose name holds `named`."""

    def of(weights):
        return {
            name: change(array.reshape(len(array), -1)).reshape(array.shape)
            if array.ndim > 1 and array.dtype.kind == "f" and named in name
            else array
            for name, array in weights.items()
        }

    return of


def swap(first, second):
    """The weights of two layers in each other's place."""

    def name_of(name):
        for one, other in ((first, second), (second, first)):
            if name.startswith(one):
                return other + name[len(one) :]
        return name

    return lambda weights: {name: weights[name_of(name)] for name in weights}


def half_the_trees(weights):
    roots = weights["trees.root"]
    return {**weights, "trees.root": roots[: len(roots) // 2]}


def shifted_splits(weights):
    """Thresholds half a unit lower, as of a split of whole numbers kept between them."""
    return {**weights, "trees.threshold": weights["trees.threshold"] - np.float32(0.5)}


def htk_mel(request):
    """The features as another mel scale has them: HTK's 2595 log10(1 + f / 700)."""
    bands = len(request.features)
    top = SAMPLE_RATE / 2
    slaney_top = 15.0 + 27.0 * np.log(top / 1000.0) / np.log(6.4)
    slaney = np.linspace(0.0, slaney_top, bands + 2)[1:-1]
    ours_hz = np.where(slaney < 15.0, slaney * 200.0 / 3.0, 1000.0 * 6.4 ** ((slaney - 15) / 27))
    htk = np.linspace(0.0, 2595.0 * np.log10(1 + top / 700.0), bands + 2)[1:-1]
    theirs_hz = 700.0 * (10.0 ** (htk / 2595.0) - 1)
    columns = [np.interp(theirs_hz, ours_hz, frame) for frame in request.features.T]
    return replace(request, features=np.stack(columns, axis=1).astype(np.float32))


def permuted(request):
    features = request.features.copy()
    first, second = (NAMES.index(name) for name in SWAPPED)
    features[[first, second]] = features[[second, first]]
    return replace(request, features=features)


def layers(part, first, second):
    return swap(f"model.{part}layers.{first}.", f"model.{part}layers.{second}.")


ROUNDED = {"int8 weights": matrices(rounded)}
WEIGHTS_RUINED = {
    "text": {
        "ternary rows": matrices(ternary),
        "ternary in layer 3": matrices(ternary, "layers.3."),
        "3 bits": matrices(three_bits),
        "noise of 0.2 everywhere": matrices(noisy(0.2)),
        "a tenth of layer 3 lost": matrices(a_tenth_lost, "layers.3."),
        "half the heads": matrices(half_the_heads, "o_proj"),
        "half the heads, layer 2": matrices(half_the_heads, "layers.2.self_attn.o_proj"),
        "swapped layer": layers("", 1, 2),
    },
    "speech": {
        "ternary rows": matrices(ternary),
        "half the heads": matrices(half_the_heads, "out_proj"),
        "swapped layer": layers("encoder.", 0, 1),
    },
    "fraud": {
        "ternary rows": matrices(ternary),
        "half the trees": half_the_trees,
        "shifted splits": shifted_splits,
    },
}
INPUTS_RUINED = {
    "text": {},
    "speech": {"wrong mel scale": htk_mel},
    "fraud": {"permuted features": permuted},
}


class Family:
    def __init__(self, name, catalog, folder):
        self.name = name
        self.catalog = catalog
        self.workload = catalog.workload(FAMILIES[name])
        self.data = catalog.data_folder(FAMILIES[name])
        # The gate on the trained model; agreement with a drawn one is no matter of quality.
        self.gate = next(g for g in self.workload.quality if g.kind != "reference_agreement")
        self.architecture = quality_model(self.gate, self.workload) or self.workload.model
        self.model = self.build(self.data, self.architecture)
        self.folder = folder / name

    def build(self, data, architecture, cache=None):
        place = cache or cache_folder()
        return build_model(architecture, self.workload.task, cache=place, data=data)

    def spoilt(self, change):
        """Return the model with its weights changed, from a file of their own."""
        self.folder.mkdir(exist_ok=True)
        weights = change({k: np.asarray(v) for k, v in self.model.weights().items()})
        kept = {
            name: np.ascontiguousarray(array.astype(self.model.weights()[name].dtype))
            for name, array in weights.items()
        }
        save_file(kept, self.folder / "weights.safetensors")
        named = self.architecture.model_copy(update={"weights": "weights.safetensors"})
        return self.build(self.folder, named, self.folder / "cache")

    def checks(self, target_name, model=None, change=None):
        """Return the gate's checks of `model` (None: the good one) on a target."""
        target = self.catalog.target(target_name)
        session = plugins.adapter(target.runtime.adapter).open(target, model or self.model)
        clock = RealClock()

        def ask(requests):
            sent = [change(request) for request in requests] if change else list(requests)
            outputs = []
            for start in range(0, len(sent), session.max_batch):
                query = TimedQuery(sent[start : start + session.max_batch], None, clock)
                session.submit(query)
                assert query.wait(120.0)
                outputs += query.expect_outputs()
            return outputs

        try:
            return evaluate(
                self.gate,
                workload=self.workload,
                model=self.model,
                ask=ask,
                data=self.data,
                cache=cache_folder(),
            )
        finally:
            session.close()


def shown(checks):
    cells = []
    for check in checks:
        value = "none" if check.value is None else f"{check.value:.4g}"
        cells.append(f"{check.metric} {value}{'' if check.passed else ' *'}")
    return ", ".join(cells)


def graded(family):
    """Return by layer the least noise that the gate refuses, printing a line for each."""
    found = {}
    for layer in range(family.architecture.layers):
        caught = []
        for share in GRADES:
            spoilt = family.spoilt(matrices(noisy(share), f"layers.{layer}."))
            checks = family.checks(ORT, spoilt)
            passed = all(check.passed for check in checks)
            caught += [] if passed else [share]
            title = f"noise of {share:g} in layer {layer}"
            print(
                f"{family.name:<8} {title:<26} {'graded':<7} {'passes' if passed else 'caught':<6} "
                f"{shown(checks)}",
                flush=True,
            )
        found[str(layer)] = min(caught, default=None)
    return {"caught_from": found}


def judge(family, fast):
    """Return the counts of one family, printing a line for each variant."""
    good, caught, missing = [], [], {}

    def line(variant, wanted, checks):
        passed = all(check.passed for check in checks)
        right = passed == (wanted == "good")
        verdict = "right" if right else "WRONG"
        print(
            f"{family.name:<8} {variant:<26} {wanted:<7} {verdict:<6} {shown(checks)}", flush=True
        )
        return right

    for target in GOOD[family.name][:1] if fast else GOOD[family.name]:
        try:
            good.append(line(target, "good", family.checks(target)))
        except PrerequisiteError as error:
            missing[target] = error.message
    if family.name != "fraud":
        for variant, change in ROUNDED.items():
            good.append(line(variant, "good", family.checks(ORT, family.spoilt(change))))
    for variant, change in WEIGHTS_RUINED[family.name].items():
        caught.append(line(variant, "ruined", family.checks(ORT, family.spoilt(change))))
    for variant, change in INPUTS_RUINED[family.name].items():
        caught.append(line(variant, "ruined", family.checks(ORT, change=change)))
    grades = {} if fast or family.name != "text" else graded(family)
    return {
        **grades,
        "good_passed": sum(good),
        "good": len(good),
        "ruined_caught": sum(caught),
        "ruined": len(caught),
        "not_installed": missing,
    }


def main(fast):
    found = {}
    print(f"{'family':<8} {'variant':<26} {'is':<7} {'gate':<6} figures (* misses its limit)")
    with TemporaryDirectory() as folder:
        for name in FAMILIES:
            found[name] = judge(Family(name, Catalog.find(), Path(folder)), fast)
    found["all"] = all(
        each["good_passed"] == each["good"] and each["ruined_caught"] == each["ruined"]
        for each in found.values()
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main("--fast" in sys.argv[1:])
