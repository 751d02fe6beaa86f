"""Reading recorded kernels: counts by hand on a small file, and sense on the real ones where they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from codegen.gpu_device import gpu_device
from costmodel.encoders.gpu_roofline import estimated_s
from costmodel.recorded_gpu import (
    OPERATORS,
    VARIABLE,
    read_gemm,
    read_operator,
    recorded_folder,
    work_features,
)

BMM = """OPName,Latency,Device,Kernel Name,Warps per SM,Blocks per SM,\
Grid x,Grid y,Grid z,Block x,Block y,Block z,B,M,N,K,split_in_source
bmm,0.2,Tesla T4,fast,1,1,4,2,8,128,1,1,8,128,64,32,test
bmm,0.4,Tesla T4,slow,1,1,4,2,8,128,1,1,8,128,64,32,train
bmm,0.1,Tesla V100-PCIE-32GB,fast,1,1,1,1,8,256,1,1,8,16,64,32,test
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "op_latency").mkdir()
    with gzip.open(tmp_path / "op_latency" / "bmm.csv.gz", "wt") as file:
        file.write(BMM)
    return tmp_path


@pytest.fixture
def recorded() -> Path:
    folder = recorded_folder()
    if folder is None:
        pytest.skip(f"{VARIABLE} is not set")
    return folder


def test_a_shape_counts_once_for_each_device(folder: Path) -> None:
    found = read_operator(folder, "bmm")
    assert sorted(found) == ["t4", "v100"]
    t4 = found["t4"]
    assert t4.device is gpu_device("t4")
    assert t4.seconds == pytest.approx([0.3e-3])
    assert t4.work.num_programs == [64]
    assert t4.work.num_threads == [128]
    assert t4.work.flops == [2 * 8 * 128 * 64 * 32]
    assert t4.work.memory_bytes == [4 * 8 * (128 * 32 + 32 * 64 + 128 * 64)]


def test_features_of_work_are_finite(folder: Path) -> None:
    one = read_operator(folder, "bmm")["v100"]
    features = work_features(one.work, one.device, estimated_s(one.work, one.device))
    assert features.shape[0] == 1
    assert np.isfinite(features).all()


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"operator must be one of bmm, .*, got 'fft'"):
        read_operator(folder, "fft")
    with pytest.raises(ValueError, match=r"there is no .*conv\.csv\.gz"):
        read_operator(folder, "conv")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="must name a folder that holds op_latency"):
        recorded_folder()
    monkeypatch.delenv(VARIABLE)
    assert recorded_folder() is None


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_prior_orders_recorded_operators(recorded: Path, operator: str) -> None:
    for one in read_operator(recorded, operator).values():
        estimate_s = estimated_s(one.work, one.device)
        assert np.isfinite(estimate_s).all()
        assert spearmanr(estimate_s, one.seconds).statistic > 0.85


@pytest.mark.slow
def test_the_prior_orders_recorded_schedules_of_a_matrix_product(recorded: Path) -> None:
    for one in read_gemm(recorded).values():
        estimate_s = estimated_s(one.work, one.device)
        assert spearmanr(estimate_s, one.seconds).statistic > 0.5
