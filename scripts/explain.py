"""Say in plain words what ``make run`` did: python scripts/explain.py outputs/run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from scripts.running.display import duration, say
from scripts.running.launch import one_sentence

OF_TRAINING = ("pairwise_accuracy", "random_pairwise_accuracy", "train_s", "top5")
OF_TUNING = ("task", "trials", "wall_s", "latency_s", "gflops", "correct")
"""What is told of each run, beside what only some runs know."""


def explain(folder: Path) -> list[str]:
    """Sentences about the runs under ``folder/train`` and ``folder/tune``; ValueError if one is not whole."""
    train, tune = _metrics(folder / "train", OF_TRAINING), _metrics(folder / "tune", OF_TUNING)
    return [
        *_about_training(train),
        *_about_tuning(tune),
        f"The trained model is in {folder / 'train' / 'checkpoint.safetensors'}, every trial in "
        f"{folder / 'tune' / 'history.csv'}, and the kernel in {folder / 'tune' / 'kernel'}; "
        f'use it with: kernel = codegen.load("{folder / "tune" / "kernel"}").',
    ]


def _about_training(metrics: Mapping[str, Any]) -> list[str]:
    pairwise, chance = metrics["pairwise_accuracy"], metrics["random_pairwise_accuracy"]
    bounds = [f"guessing: {chance:.1%}"]
    if "ceiling_pairwise_accuracy" in metrics:  # needs candidates that were measured twice
        agreement = metrics["ceiling_pairwise_accuracy"]
        bounds.append(f"two measurements of the same schedules agree in {agreement:.1%}")
    return [
        f"The model learnt from measured runtimes in {duration(metrics['train_s'])}. Of two schedules of an "
        f"operator of a shape it had never seen, it names the faster one in {pairwise:.1%} of all cases "
        f"({'; '.join(bounds)}).",
        f"The best of its five favourites reaches {metrics['top5']:.1%} of the best known speed of a task.",
    ]


def _about_tuning(metrics: Mapping[str, Any]) -> list[str]:
    verdict = "agrees with" if metrics["correct"] else "DIFFERS from"
    sentences = [
        f"Tuning {metrics['task']} tried {metrics['trials']} schedules in {duration(metrics['wall_s'])}. "
        f"The fastest takes {duration(metrics['latency_s'])} ({metrics['gflops']:.0f} GFLOP/s), and "
        f"its output {verdict} the NumPy reference."
    ]
    if "torch_latency_s" in metrics:
        ratio = metrics["torch_latency_s"] / metrics["latency_s"]
        sentences.append(
            f"torch takes {duration(metrics['torch_latency_s'])} in the same run: the tuned kernel is "
            f"{ratio:.2f} times as fast."
        )
    return sentences


def _metrics(folder: Path, needed: Sequence[str]) -> dict[str, Any]:
    path = folder / "metrics.json"
    if not path.exists():
        raise ValueError(f"{path} is missing; make run writes it")
    try:
        metrics = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON file ({error}); make run writes it anew") from None
    missing = [name for name in needed if not isinstance(metrics, dict) or name not in metrics]
    if missing:
        raise ValueError(f"{path} has no {missing[0]}; give a folder that make run wrote to")
    return dict(metrics)


def _main(arguments: Sequence[str]) -> None:
    if list(arguments) in (["-h"], ["--help"]):
        say(str(__doc__))
        return
    if len(arguments) != 1:
        raise ValueError(f"give the one folder that make run wrote to, got {len(arguments)} arguments")
    for line in explain(Path(arguments[0])):
        say(line)


if __name__ == "__main__":
    with one_sentence():
        _main(sys.argv[1:])
