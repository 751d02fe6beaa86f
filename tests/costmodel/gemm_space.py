"""A made-up recorded space of CLBlast's matrix product: few configurations, times that follow their reuse."""

from __future__ import annotations

from itertools import product

from codegen.clblast.gemm import PARAMETERS
from datasets.recorded import RecordedRow, RecordedTable, recorded_table

FIXED = {"KWG": 32, "MDIMA": 8, "NDIMB": 8, "KWI": 2, "VWN": 1, "STRM": 0, "STRN": 0}
CHOICES = {
    **dict.fromkeys(("MWG", "NWG"), (32, 64, 128, 256)),
    **dict.fromkeys(("MDIMC", "NDIMC"), (8, 16)),
    "VWM": (1, 2),
    "SA": (0, 1),
    "SB": (0, 1),
}


def gemm_table(device: str = "RTX_3090", speed: float = 1.0, **extra: int) -> RecordedTable:
    """512 configurations, of which some fail; larger tiles are faster until registers run out."""
    rows = []
    for number, values in enumerate(product(*CHOICES.values())):
        knobs = {**FIXED, **dict(zip(CHOICES, values, strict=True))}
        work = knobs["MWG"] * knobs["NWG"] / (knobs["MDIMC"] * knobs["NDIMC"])
        traffic = 1 / knobs["MWG"] + 1 / knobs["NWG"] - 0.002 * (knobs["SA"] + knobs["SB"]) * speed
        time_s = 1e-2 / speed * (0.05 + traffic + 0.002 * max(work - 32, 0) + 0.01 / knobs["VWM"])
        failure = "runtime" if number % 100 == 99 else None
        configuration = {name: knobs[name] for name in PARAMETERS} | extra
        rows.append(RecordedRow(configuration, None if failure else time_s, failure, 0.3, 0.1))
    return recorded_table("gemm", device, [*PARAMETERS, *extra], rows)
