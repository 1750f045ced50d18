"""Whether a served target's figures are those of the client that asked. See docs/served.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.schema.record import Reason, Verdict
from harness.schema.workload import SloLimit

LAG_SHARE = 0.10
CPU_SHARE = 0.90


def judge_client(verdict: Verdict, client: object, slo: Sequence[SloLimit]) -> Verdict:
    """Return `verdict`, made invalid where the client was the limit.

    `client` is the trust block of a served session, None for other sessions. Of a served one whose
    figures are missing nobody can say that the server was measured, so that is invalid too.
    """
    if client is None:
        return verdict
    figures = client if isinstance(client, Mapping) else {}
    reasons = client_reasons(figures, min((s.limit_s for s in slo), default=None))
    if not reasons:
        return verdict
    return Verdict(state="invalid", reasons=(*reasons, *verdict.reasons))


def client_reasons(client: Mapping[str, object], tightest_s: float | None) -> list[Reason]:
    """Return why the client was the limit; none if it kept up.

    Its event loop was late by more than 10 % of the tightest limit (p99), or its thread used more
    than 90 % of a core: a thread without spare time queues what comes, however fast the server is.
    """
    reasons = []
    lag, cpu = client.get("loop_lag_p99_s"), client.get("cpu_share")
    if not isinstance(lag, float) or not isinstance(cpu, float):
        return [
            Reason(code="client-bound", text="the client did not run long enough to tell its lag")
        ]
    if tightest_s is not None and lag > LAG_SHARE * tightest_s:
        reasons.append(
            Reason(
                code="client-bound",
                text=f"the client itself read replies up to {lag * 1e3:.2f} ms late",
                value=lag,
                limit=LAG_SHARE * tightest_s,
            )
        )
    if cpu > CPU_SHARE:
        reasons.append(
            Reason(
                code="client-bound",
                text=f"the client itself used {cpu:.0%} of the one core that it can use",
                value=cpu,
                limit=CPU_SHARE,
            )
        )
    return reasons
