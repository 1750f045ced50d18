"""The words that the report uses for the codes in documents, and what they mean."""

from __future__ import annotations

from harness.schema.target import DETECTED

RULES = {
    "not_measured": "Not measured",
    "failed": "Measurement failed",
    "unsupported": "Cannot run this workload",
    "invalid": "Measurement not usable",
    "evidence": "Evidence too weak",
    "quality": "Quality gate missed",
    "slo": "SLO missed",
    "residency": "Data residency",
    "tier": "Kind of site not allowed",
    "price": "No price",
    "price_age": "Price too old",
    "rate_limit": "Above the provider's rate limit",
    "memory": "Too little memory",
    "precision": "Precision not allowed",
    "air_gap": "Outside the air gap",
    "lead_time": "Delivered too late",
    "power": "Too much power",
    "space": "Too much space",
    "vendor": "Vendor not allowed",
    "budget": "Above the budget",
    "edge_latency": "Too far away for its promise",
    "operators": "Operators missing",
    "cost": "Dearer than the choice",
}

STANDINGS = {
    "chosen": ("●", "Chosen"),
    "runner_up": ("◐", "Runner-up"),
    "feasible": ("○", "Feasible"),
    "excluded": ("✕", "Excluded"),
}
"""A shape and a word for each standing: colour is never the only sign."""

STATES = {
    "met": ("✓", "met"),
    "missed": ("✕", "missed"),
    "unproven": ("?", "not proven"),
    "not_applicable": ("–", "does not apply"),
    "valid": ("✓", "valid"),
    "noisy": ("≈", "noisy"),
    "invalid": ("✕", "invalid"),
    "passed": ("✓", "passed"),
    "failed": ("✕", "failed"),
    "unsupported": ("✕", "unsupported"),
    "ok": ("✓", "measured"),
    "metered": ("✓", "metered"),
    "partial": ("≈", "in part"),
    "modelled": ("*", "modelled"),
    "not_metered": ("–", "not metered"),
    "not_measured": ("–", "not measured"),
    "gap_none": ("✓", "none"),
    "gap_some": ("≈", "some"),
    "gap_unknown": ("?", "not told"),
}

ENERGY_LINES = {
    "it_energy": "Energy of the machines",
    "facility_energy": "Energy of the facility",
    "electricity": "Electricity",
    "carbon": "Emitted for the energy",
    "embodied_carbon": "Emitted for making the machines",
}
"""The lines of a fleet's year."""

TIERS = {"cloud": "cloud", "on_premises": "on premises", "edge": "edge"}

KINDS = {"api": "API", "cloud": "cloud", "on_premises": "on premises", "edge": "edge"}
"""The kinds of supply."""

METRICS = {
    "latency": "Latency",
    "ttft": "Time to first token",
    "tpot": "Time per output token",
    "task_latency": "Latency of a task",
}

SCENARIOS = {
    "single_stream": "one at a time",
    "multi_stream": "several at a time",
    "offline": "all at once",
    "server": "random arrivals",
    "closed_loop": "a fixed number of users",
    "burst": "arrivals in bursts",
    "trace": "recorded arrivals",
}

ENDINGS = {
    "precise": "precise",
    "count": "all requests sent",
    "time_box": "time box",
    "trace_end": "end of the trace",
}
"""Why a window ended."""

EVIDENCE = {
    "measured": "Measured by this harness on the target itself.",
    "imported": "Measured by somebody else, under rules that are published with the figure.",
    "projected": "Computed from other measurements by a model with a known error.",
    "claimed": "Stated by the vendor; nobody else has measured it.",
}

GLOSSARY = (
    (
        "95 % interval",
        "The range in brackets. If the measurement were repeated many times, 95 of 100 such ranges "
        "would hold the true value. Two overlapping ranges do not separate two targets.",
    ),
    (
        "Boundary",
        "What an energy figure includes: the chip, the package, the node, or the wall. Figures of "
        "different boundaries are never compared, and a chip's never stands for its machine.",
    ),
    (
        "Break-even",
        "The demand at which two ways to run a workload cost the same: below it one is cheaper, "
        "above it the other.",
    ),
    (
        "Burst",
        "A short time in which many times more requests arrive than in the busiest hour.",
    ),
    (
        "Capacity",
        "The load at which the target just keeps the SLO, estimated from all loads that were "
        "measured. The proven load is the highest that was itself measured to keep it, and so lies "
        "below.",
    ),
    (
        "Certified",
        "The bound that the early-stopping rule of MLPerf gives for a percentile, with 99 % "
        "confidence, if requests were independent. The interval beside it does not assume that.",
    ),
    (
        "Compiler gap",
        "The part of a model that the target's own runtime does not run: it runs elsewhere, is "
        "replaced by other operators, or is refused.",
    ),
    (
        "Cost per unit at full use",
        "The cost if every hired or bought machine worked at the highest load within the SLO all "
        "the time. The cost at the buyer's own demand is higher, because machines also stand idle.",
    ),
    ("Evidence", "How a figure is known: measured, imported, projected or claimed, best first."),
    ("Feasible", "No rule of the brief speaks against the target, cost aside."),
    (
        "Front",
        "The options that no other beats: whoever is better in one thing is worse in another.",
    ),
    (
        "kgCO2e",
        "Kilograms of carbon dioxide that would warm as much as all the greenhouse gases emitted.",
    ),
    (
        "Lever",
        "A change to how a workload is served, such as a lower precision or a cache, with what it "
        "would do to the cost. It changes nothing in the choice.",
    ),
    (
        "Modelled*",
        "Not read from a meter alone, but worked out from a declared power or a model. Marked with "
        "the word, an asterisk and hatched bars.",
    ),
    (
        "Noisy",
        "Something disturbed the measurement, or it proves less than it should. The figures can be "
        "used with care; the reasons are given.",
    ),
    (
        "Not supported by n",
        "There were too few independent requests to state this percentile, so none is stated.",
    ),
    (
        "p50, p95, p99",
        "Percentiles. A p95 of 200 ms means that 95 of 100 requests took 200 ms or less.",
    ),
    (
        "P(best)",
        "The chance that no other option costs less, over what prices, demand and throughput may "
        "be. The regret is what the choice then costs above the cheapest, on average.",
    ),
    ("PUE", "Power usage effectiveness: what the facility draws over what its machines draw."),
    (
        "Quality gate",
        "A check that the target computes the right answers, not only fast ones. A target that "
        "misses it cannot be chosen.",
    ),
    ("Replica", "One unit of the target as it is sold, serving the workload on its own."),
    (
        "Roofline",
        "The most that the hardware can do on this work, by its memory and its arithmetic. The "
        "share of it that was reached says how much better software could still win.",
    ),
    (
        "SLO",
        "Service-level objective: the promise about speed that the workload must keep. It counts "
        "as met only if the upper end of the interval keeps it too, and as not proven if only the "
        "measured value does.",
    ),
    (
        "TCO",
        "Total cost of ownership: all that is spent over the horizon, worth as on the first day, "
        "less what the purchases are still worth at its end.",
    ),
    ("Throughput", "Requests or tokens served a second at a load that keeps the SLO."),
    (
        "Time box",
        "The longest that a measurement may take. One that ended as precise did not need all of "
        "it; one that its time box ended says what it can support.",
    ),
    ("TPOT", "Time per output token: how fast the answer flows once it has begun."),
    ("TTFT", "Time to first token: how long a user waits until the answer begins."),
    ("Utilisation", "The share of what the replicas could serve that the demand uses on average."),
    (
        "Warm-up",
        "Requests at the start of a measurement, before its speed was steady. They are not in the "
        "figures.",
    ),
    (
        "↔ 12 %",
        "Something disturbed the measurement by as much as 12 %, so its interval was widened by "
        "that share on both sides.",
    ),
)
"""Terms and what they mean, in alphabetical order."""


def rule(code: str) -> str:
    """Return the heading for the rule `code`."""
    return RULES.get(code) or code.replace("_", " ").capitalize()


def metric(code: str) -> str:
    """Return the name of an SLO's metric: `latency`, `ttft` or `tpot`."""
    return METRICS.get(code) or code


def state(code: str) -> str:
    """Return the word for the state `code`."""
    return STATES[code][1] if code in STATES else code.replace("_", " ")


def sign(code: str) -> str:
    """Return the shape that stands beside the word for the state or standing `code`."""
    return (STATES.get(code) or STANDINGS.get(code) or ("–", ""))[0]


def standing(code: str) -> str:
    """Return the word for the standing `code`."""
    return STANDINGS[code][1]


def kind(code: str) -> str:
    """Return the words for a kind of supply."""
    return KINDS.get(code) or code


def tier(code: str) -> str:
    """Return the words for a kind of site."""
    return TIERS.get(code) or code


def ending(code: str) -> str:
    """Return the words for why a window ended."""
    return ENDINGS.get(code) or code.replace("_", " ")


def scenario(code: str) -> str:
    """Return the words for a kind of traffic."""
    return SCENARIOS.get(code) or code.replace("_", " ")


def vendor(name: str) -> str:
    """Return who makes a chip, where no record says which CPU a target found."""
    return "that of the CPU found" if name == DETECTED else name
