"""How far recorded times can be trusted: trials of one candidate, and the reference kernel."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datasets.columns import dictionaries
from datasets.table import RecordTable


def noise_of(table: RecordTable) -> dict[str, float]:
    """Candidates measured twice, minutes to hours apart, and quantiles of slower / faster - 1."""
    pairs = np.concatenate([task.repeat_pairs for task in table.tasks])
    apart = np.abs(np.log(pairs[:, 0] / pairs[:, 1]))
    quantiles = {"median": 0.5, "p90": 0.9, "p99": 0.99} if len(pairs) else {}
    values = {
        f"repeat_difference_{name}": float(np.expm1(np.quantile(apart, q))) for name, q in quantiles.items()
    }
    return {"num_repeated": len(pairs), **values}


def unsteady_share(columns: pa.Table) -> float | None:
    """Share of the trials around which the machine was slower than usual, of those where somebody looked.

    None where nobody did; see ``codegen/measure/steadiness.py``.
    """
    unsteadiness = columns.column("unsteadiness").to_numpy().astype(np.float64)
    noted = unsteadiness[unsteadiness > 0]
    return float(np.mean(noted > 1)) if len(noted) else None


def drift_of(columns: pa.Table) -> dict[str, float]:
    """90th percentile over median of the reference kernel's time, by fingerprint of the target.

    1 on a quiet machine that keeps its clock. A target on which the reference never ran is left out.
    """
    fingerprints = [target.fingerprint for target in dictionaries(columns).targets]
    owners = np.array(fingerprints)[columns.column("target").to_numpy()]
    reference_s = columns.column("reference_s").to_numpy().astype(np.float64)
    drift = {}
    for fingerprint in dict.fromkeys(fingerprints):
        times_s = reference_s[(owners == fingerprint) & (reference_s > 0)]
        if len(times_s):
            drift[fingerprint] = float(np.quantile(times_s, 0.9) / np.median(times_s))
    return drift
