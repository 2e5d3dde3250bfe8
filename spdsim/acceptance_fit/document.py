"""A fit as plain data, and as the `acceptance:` of a scenario."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from spdsim.acceptance import Bernoulli, BetaPerSequence, ByFillDepth, Markov
from spdsim.acceptance_fit.families import Family
from spdsim.acceptance_fit.fit import AcceptanceFit
from spdsim.acceptance_fit.shares import Share, run_labels

_DIGITS = 6


def fit_document(fit: AcceptanceFit) -> dict[str, Any]:
    """Return every figure of a fit as plain data, keys in a fixed order."""
    verdicts, pace, good = fit.verdicts, fit.pace, fit.goodness
    return {
        "num_stages": verdicts.num_stages,
        "verification_lag": verdicts.verification_lag,
        "num_sequences": len(verdicts.records),
        "acceptance_probability": _share(fit.overall),
        "interval_over_sequences": None if fit.over_sequences is None else list(fit.over_sequences),
        "by_fill_depth": [_share(share) for share in fit.by_depth],
        "by_third": [_share(share) for share in fit.by_third],
        "by_sequence": [_share(share) for share in fit.by_sequence],
        "runs": [
            {"length": label, "observed": observed, "expected": expected}
            for label, observed, expected in zip(run_labels(), fit.runs, good.runs, strict=True)
        ],
        "num_tokens": pace.num_tokens,
        "num_cycles": pace.num_cycles,
        "tokens_per_cycle": pace.tokens_per_cycle,
        "equivalent_accept_length": verdicts.num_stages * pace.tokens_per_cycle,
        "equal_stages_speedup": pace.speedup,
        "closed_form_speedup": pace.law,
        "families": [_family(family) for family in fit.families],
        "not_fitted": dict(fit.left_out),
        "chosen": fit.chosen.kind,
        "cannot_be_told_apart": [family.kind for family in fit.alike],
        "goodness_of_fit": {
            "p_value": good.p_value,
            "draws": good.num_draws,
            "checks": [
                {"check": check.name, "statistic": check.statistic, "p_value": check.p_value} for check in good.checks
            ],
            "by_fill_depth": list(good.by_depth),
        },
        "acceptance": acceptance_mapping(fit.chosen, ""),
    }


def acceptance_mapping(family: Family, source: str) -> dict[str, Any]:
    """Return the `acceptance` of a scenario, with its origin. source: where the verdicts come from, in words."""
    drafts = f"fitted to {family.num_drafts:,} drafts"
    return {
        "kind": family.kind,
        **_parameters(family),
        "origin": "measured",
        "source": f"{source}; {drafts}" if source else drafts,
    }


def fragment_text(family: Family, source: str, head: str) -> str:
    """Return a scenario's `acceptance:` as YAML. head: comments above it, a line each."""
    return _text(acceptance_mapping(family, source), head)


def table_text(fits: Sequence[AcceptanceFit], source: str, head: str) -> str:
    """Return the same of fits that differ in their number of stages: a table of their acceptances."""
    table = {fit.verdicts.num_stages: _rounded(fit.overall.accepted / fit.overall.count) for fit in fits}
    drafts = sum(fit.overall.count for fit in fits)
    written = f"{source}; {drafts:,} drafts"
    return _text({"kind": "by_stages", "p": table, "origin": "measured", "source": written}, head)


def _text(acceptance: Mapping[str, Any], head: str) -> str:
    comments = (f"# {line}".rstrip() for line in head.splitlines())
    return "\n".join([*comments, "acceptance:", *(f"  {key}: {_flat(acceptance[key])}" for key in acceptance)]) + "\n"


def _flat(value: Any) -> str:
    """A value on one line. What JSON writes, YAML reads, but for keys that are numbers."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flat(entry)}" for key, entry in value.items()) + "}"
    is_word = isinstance(value, str) and value.isidentifier()
    return str(value) if is_word else json.dumps(value, ensure_ascii=False)


def _parameters(family: Family) -> dict[str, Any]:
    match family.model:
        case Bernoulli(p):
            return {"p": _rounded(p)}
        case ByFillDepth(by_depth):
            return {"p": [_rounded(p) for p in by_depth]}
        case Markov(by_state, stay):
            return {"p": [_rounded(p) for p in by_state], "stay": [_rounded(p) for p in stay]}
        case BetaPerSequence(p, concentration):
            return {"p": _rounded(p), "concentration": _rounded(concentration)}
        case _:
            raise AssertionError("a replay is not fitted")


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"accepted": share.accepted, "drafts": share.count, "mean": share.fraction, "low": low, "high": high}


def _family(family: Family) -> dict[str, Any]:
    return {
        "kind": family.kind,
        "bic": family.bic,
        "aic": family.aic,
        "log_likelihood": family.log_likelihood,
        "parameters": [
            {
                "name": estimate.name,
                "value": estimate.value,
                "low": None if estimate.interval is None else estimate.interval[0],
                "high": None if estimate.interval is None else estimate.interval[1],
            }
            for estimate in family.estimates
        ],
    }
