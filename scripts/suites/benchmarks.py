"""The suites of ``benchmark.py``: each takes the settings and gives flat metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.ops import AWKWARD_WORKLOADS, MEMORY_WORKLOADS, WORKLOADS, Operator
from codegen.schedule import build_space
from codegen.target import Target
from costmodel.dataset import dataset_of
from costmodel.recorded_gpu import recorded_folder
from scripts.learning.guide import Guide
from scripts.learning.training import comparable_features
from scripts.options.data import DataConfig
from scripts.options.figures import ComparisonConfig
from scripts.options.groups import TargetConfig
from scripts.options.models import GradientBoostingOption, NeuralOption
from scripts.options.searches import annealer_of
from scripts.running.display import show_table
from scripts.running.launch import ROOT
from scripts.running.outputs import code_version
from scripts.suites.compilation import CompilationConfig, compilation_suite
from scripts.suites.end_use.contenders import EndUseConfig
from scripts.suites.end_use.suite import end_use_suite
from scripts.suites.gpu_kernels import GpuSuiteConfig, gpu_metrics
from scripts.suites.memory.results import MemoryResults
from scripts.suites.memory.standings import memory_metrics, memory_table, stand_in_memory, write_table
from scripts.suites.operators.suite import KernelsConfig, OperatorSuite
from scripts.suites.operators.timing import call_times
from scripts.suites.precision import PrecisionConfig, precision_suite
from scripts.suites.ranking import rank_models
from scripts.suites.recorded_gpu import recorded_metrics
from scripts.suites.search_efficiency.curves import comparison_metrics
from scripts.suites.search_efficiency.runs import compare_searches
from scripts.suites.throughput import (
    annealing_rate,
    candidates_rate,
    compile_metrics,
    epoch_time,
    peak_bytes,
    trial_rate,
)
from scripts.suites.triton_kernels import TritonConfig, triton_metrics
from scripts.tuning.gpu_tuning import GpuTuning
from scripts.tuning.kernel_tuner import KernelTuner
from scripts.tuning.measured_search import PoolMeasurer, reproduce_command
from scripts.tuning.stored_winners import FILE, read_winners, target_folder

Values: TypeAlias = dict[str, float | int | str]

BATCH = 4096
"""Candidates mutated and scored at once in the throughput suite."""

ALL = ("throughput", "ranking", "tune", "search")
"""What suite=all runs, in this order."""

TOLD_IN_TABLES = ("compilation", "end_use")
"""Suites whose own tables say all that their metrics do."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """``figure`` names the workloads of the suites ``search``, ``end_use`` and ``tune``, and sizes the first
    two; ``end_use`` names the models and searches that the second compares.

    ``workload`` is what the throughput is measured on, with ``num_compiled`` candidates of each kind
    and ``num_measured`` trials; ``search`` with its ``trials`` is what tunes. ``kernels`` says where the
    suites ``tune``, ``operators``, ``awkward`` and ``memory`` take their schedules from and whether they are
    kept; ``precision``, ``compilation``, ``triton`` and ``gpu`` are for the suites of these names.
    """

    suite: str = "throughput"
    seed: int = 0
    workload: str = "resnet18_c2"
    num_compiled: int = 40
    num_measured: int = 64
    data: DataConfig = MISSING
    target: TargetConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    search: Any = MISSING
    figure: ComparisonConfig = MISSING
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    compilation: CompilationConfig = field(default_factory=CompilationConfig)
    end_use: EndUseConfig = field(default_factory=EndUseConfig)
    kernels: KernelsConfig = field(default_factory=KernelsConfig)
    triton: TritonConfig = field(default_factory=TritonConfig)
    gpu: GpuSuiteConfig = field(default_factory=GpuSuiteConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.suite not in (*SUITES, "all"):
            raise ValueError(f"suite must be {', '.join(SUITES)} or all, got {self.suite!r}")
        if min(self.num_compiled, self.num_measured) < 1:
            raise ValueError(
                f"num_compiled and num_measured must be at least 1, got {self.num_compiled} and "
                f"{self.num_measured}"
            )
        if self.workload not in WORKLOADS:
            raise ValueError(f"workload must be one of {', '.join(WORKLOADS)}, got {self.workload!r}")


def throughput(config: Benchmark, target: Target, folder: Path) -> Values:
    """How fast candidates are scored, compiled and measured, and how long an epoch of training takes."""
    option, annealer = _network(config), annealer_of(config.search, "suite=throughput")
    space = build_space(WORKLOADS[config.workload].program(), target)
    predictor = Guide(option, config.loss, config.checkpoint).predictor(space, config.seed)
    values: Values = {
        "candidates_per_s": candidates_rate(space, predictor, BATCH),
        "annealed_candidates_per_s": annealing_rate(space, predictor, annealer.anneal),
    }
    values |= compile_metrics(space, predictor, annealer, config.num_compiled)
    with MeasurePool(config.measure, reproduce_command) as pool:
        measurer = PoolMeasurer(pool, WORKLOADS[config.workload], space, config.seed)
        values["trials_per_s"], measured = trial_rate(measurer, config.num_measured)
    values["num_failed_trials"] = sum(measurement.failure is not None for measurement in measured)
    split = config.data.divide(config.data.table(), config.seed)
    data = dataset_of(split.train, cache=config.data.feature_cache())
    values |= {
        "train_epoch_s": epoch_time(option, config.loss, data),
        "num_train_candidates": len(data),
    }
    return values


def training(config: Benchmark, target: Target, folder: Path) -> Values:
    """Seconds and memory that features of all records take, and an epoch on them; none are kept."""
    option, table = _network(config), config.data.table()
    start_s = time.perf_counter()
    data, features_bytes = peak_bytes(lambda: dataset_of(table))
    features_s = time.perf_counter() - start_s
    epoch_s, epoch_bytes = peak_bytes(lambda: epoch_time(option, config.loss, data))
    return {
        "num_candidates": len(data),
        "features_s": features_s,
        "features_peak_mb": features_bytes / 1e6,
        "train_epoch_s": epoch_s,
        "train_peak_mb": epoch_bytes / 1e6,
    }


def ranking(config: Benchmark, target: Target, folder: Path) -> Values:
    """How well a network (model=...), XGBoost and the baselines rank the test side of the split."""
    learners = [_network(config).build(config.loss), GradientBoostingOption().build(config.loss)]
    split = config.data.divide(config.data.table(), config.seed)
    ranked = rank_models(learners, split, config.seed, config.data.feature_cache())
    ranked.show()
    return {**ranked.flat(), "train_s": ranked.train_s[learners[0].name]}


def precision(config: Benchmark, target: Target, folder: Path) -> Values:
    """Seconds of an epoch in float32 and in bfloat16, and how well the results rank tasks kept apart."""
    option, split = _network(config), config.data.divide(config.data.table(), config.seed)
    data = comparable_features("learn from", split.train, config.data.feature_cache())
    return precision_suite(option, config.loss, data, config.precision, config.seed, folder)


def compilation(config: Benchmark, target: Target, folder: Path) -> Values:
    """Seconds of a step of training as it is and compiled by torch, and of compiling."""
    option, split = _network(config), config.data.divide(config.data.table(), config.seed)
    data = comparable_features("learn from", split.train, config.data.feature_cache()).learnable()
    return compilation_suite(option, data, config.compilation, config.seed)


def search(config: Benchmark, target: Target, folder: Path) -> Values:
    """Trials that the guided annealer needs for what random search finds."""
    annealer = annealer_of(config.search, "suite=search")
    guide = Guide(config.model, config.loss, config.checkpoint)
    comparisons = compare_searches(config.figure, annealer, guide, target, config.measure, folder)
    return dict(comparison_metrics(comparisons))


def end_use(config: Benchmark, target: Target, folder: Path) -> Values:
    """Trials to 95 % of the best known speed: models, trained here, in the annealer, and other searches.

    Workloads, seeds and trials are those of the figure; no workload may be learnt from.
    """
    annealer = annealer_of(config.search, "suite=end_use")
    known = read_winners(target_folder(ROOT / config.kernels.results, target) / FILE, target)
    models, figure, data, measure = config.end_use, config.figure, config.data, config.measure
    return end_use_suite(models, figure, annealer, data, target, measure, config.seed, known, folder)


def tune(config: Benchmark, target: Target, folder: Path) -> Values:
    """Tuned kernels of the figure's workloads beside the libraries and the machine's ceilings."""
    return _run_operators(
        "tune", {name: WORKLOADS[name] for name in config.figure.workloads}, config, target, folder
    )


def operators(config: Benchmark, target: Target, folder: Path) -> Values:
    """The same for every named workload, and how much of a time is the call."""
    values = _run_operators("operators", config.kernels.chosen(WORKLOADS), config, target, folder)
    calls = call_times(target, config.seed)
    show_table(
        "a call with nothing to compute", ["kernel", "us"], [(who, 1e6 * s) for who, s in calls.items()]
    )
    return {**values, **{f"call_{who}_s": seconds for who, seconds in calls.items()}}


def awkward(config: Benchmark, target: Target, folder: Path) -> Values:
    """Shapes with odd and prime extents, each beside a round one."""
    return _run_operators("awkward", config.kernels.chosen(AWKWARD_WORKLOADS), config, target, folder)


def memory(config: Benchmark, target: Target, folder: Path) -> Values:
    """Softmax, layer norm, pooling, chains and transposes beside libraries and the bandwidth of memory."""
    workloads = config.kernels.chosen(MEMORY_WORKLOADS)
    results = MemoryResults(target_folder(ROOT / config.kernels.results, target), target)
    if config.kernels.tuned == "stored":
        winners = results.required(workloads)
    else:
        rivals = results.winners(workloads) if config.kernels.store == "better" else {}
        winners = _tuner(config, target, folder).tune_all(workloads, rivals)
    workloads = {name: workloads[name] for name in winners}
    standings = stand_in_memory(workloads, winners, target, config.seed, config.measure)
    columns, rows = memory_table(standings)
    show_table(f"memory on {target.name}", columns, rows)
    write_table(folder, columns, rows)
    if config.kernels.store != "none":
        results.keep(winners, standings)
    return memory_metrics(standings)


def triton(config: Benchmark, target: Target, folder: Path) -> Values:
    """Every workload as GPU kernels, all without a GPU; and recorded GPUs, where there are recordings."""
    values: Values = triton_metrics(config.triton, config.seed, folder)
    recordings = recorded_folder()
    return values if recordings is None else {**values, **recorded_metrics(recordings, config.seed)}


def gpu(config: Benchmark, target: Target, folder: Path) -> Values:
    """Every workload tuned on the GPU of this machine, beside PyTorch there."""
    chosen = config.gpu
    tuning = GpuTuning(config.search, config.measure, chosen.target, chosen.num_finalists, config.seed)
    with config.logger.open(folder) as logger:
        return gpu_metrics(chosen, tuning, folder, logger)


SUITES: dict[str, Callable[[Benchmark, Target, Path], Values]] = {
    "throughput": throughput,
    "training": training,
    "ranking": ranking,
    "precision": precision,
    "compilation": compilation,
    "tune": tune,
    "search": search,
    "end_use": end_use,
    "operators": operators,
    "awkward": awkward,
    "memory": memory,
    "triton": triton,
    "gpu": gpu,
}
"""By name; ``configs/suite`` has a file for each, with what it sets differently."""


def _network(config: Benchmark) -> NeuralOption:
    if not isinstance(config.model, NeuralOption):
        raise ValueError(
            f"suite={config.suite} measures the training of a network; choose one, such as model=treegru"
        )
    return config.model


def _run_operators(
    suite: str, workloads: Mapping[str, Operator], config: Benchmark, target: Target, folder: Path
) -> Values:
    tuner = _tuner(config, target, folder)
    kernels, measure, version = config.kernels, config.measure, tuner.code_version
    run = OperatorSuite(suite, kernels, measure, workloads, target, config.seed, folder, ROOT, version)
    return run.run(tuner)


def _tuner(config: Benchmark, target: Target, folder: Path) -> KernelTuner:
    guide = Guide(config.model, config.loss, config.checkpoint)
    version = code_version(ROOT)
    return KernelTuner(config.search, guide, config.measure, target, config.seed, folder, version)
