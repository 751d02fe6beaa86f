from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from codegen.schedule.candidates import Candidates, concatenate
from search.arms import Plan, PlanConfig, make_plan
from search.exhaustive import ExhaustiveSearch
from tests.search.spaces import KnobSpace

SPACE = KnobSpace()


def plans(config: PlanConfig, num_plans: int, is_informed: bool = True) -> list[Plan]:
    rng = np.random.default_rng(0)
    measured = SPACE.enumerate(1)[:0]
    made = []
    for _ in range(num_plans):
        plan = make_plan(
            SPACE, ExhaustiveSearch(SPACE), is_informed, config, config.num_trials, measured, rng
        )
        measured = concatenate([measured, plan.candidates])
        made.append(plan)
    return made


def test_a_default_plan_is_64_trials_with_5_percent_at_random() -> None:
    (plan,) = plans(PlanConfig(), 1)
    assert Counter(plan.arms) == {"search": 61, "epsilon": 3}


def test_shares_hold_over_small_plans() -> None:
    made = plans(PlanConfig(num_trials=4, epsilon=0.05, control_share=0.1), 20)
    arms = Counter(arm for plan in made for arm in plan.arms)
    assert arms == {"search": 68, "epsilon": 4, "control": 8}


def test_no_candidate_is_planned_twice() -> None:
    made = plans(PlanConfig(num_trials=50, epsilon=0.3, control_share=0.3), 4)
    keys = concatenate([plan.candidates for plan in made]).keys()
    assert len(np.unique(keys)) == 200


def test_the_searcher_chooses_its_arm_and_no_other() -> None:
    (plan,) = plans(PlanConfig(num_trials=40, epsilon=0.25), 1)
    chosen = plan.candidates[np.array([arm == "search" for arm in plan.arms])]
    np.testing.assert_array_equal(chosen.keys(), SPACE.enumerate(30).keys())


def test_an_uninformed_plan_is_random_and_says_so() -> None:
    (plan,) = plans(PlanConfig(num_trials=40), 1, is_informed=False)
    assert Counter(plan.arms) == {"random": 38, "epsilon": 2}
    assert len(np.intersect1d(plan.candidates.keys(), SPACE.enumerate(40).keys())) < 10


def test_sketches_without_a_trial_get_the_first_choice_in_their_form() -> None:
    config = PlanConfig(num_trials=8, epsilon=0.0, sketch_share=0.25)
    first, second = plans(config, 2)  # the exhaustive search starts with sketch 0
    assert Counter(first.arms) == {"search": 7, "sketch": 1}
    carried = first.candidates[np.array([arm == "sketch" for arm in first.arms])]
    assert carried.sketches.tolist() == [1]
    assert carried.positions.tolist() == [[0, 0, 0, 0]]
    assert Counter(second.arms) == {"search": 8}


def test_no_more_than_a_share_goes_to_untried_sketches() -> None:
    space = KnobSpace(sizes=((6, 5),) * 9)
    config = PlanConfig(num_trials=8, epsilon=0.0, sketch_share=0.5)
    none = space.enumerate(0)
    plan = make_plan(space, ExhaustiveSearch(space), True, config, 8, none, np.random.default_rng(0))
    assert Counter(plan.arms) == {"search": 4, "sketch": 4}
    assert len(np.unique(plan.candidates.sketches)) == 5


def test_control_trials_are_spread_over_the_plan() -> None:
    (plan,) = plans(PlanConfig(num_trials=40, epsilon=0.0, control_share=0.25), 1)
    places = [place for place, arm in enumerate(plan.arms) if arm == "control"]
    assert max(np.diff([-1, *places, 40])) <= 6


def test_all_trials_may_be_control() -> None:
    (plan,) = plans(PlanConfig(num_trials=8, epsilon=0.0, control_share=1.0), 1)
    assert Counter(plan.arms) == {"control": 8}


def test_the_end_of_a_space_gives_a_short_plan_and_then_an_empty_one() -> None:
    space, config, rng = KnobSpace(sizes=((5,),)), PlanConfig(num_trials=64), np.random.default_rng(0)
    measured = Candidates(np.zeros(2, np.int64), np.array([[0], [3]]))
    plan = make_plan(space, ExhaustiveSearch(space), True, config, 64, measured, rng)
    assert sorted(plan.candidates.positions[:, 0].tolist()) == [1, 2, 4]
    everything = concatenate([measured, plan.candidates])
    last = make_plan(space, ExhaustiveSearch(space), True, config, 64, everything, rng)
    assert len(last.candidates) == 0
    assert last.arms == ()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"num_trials": 0}, "num_trials"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": 0.6, "control_share": 0.5}, "control_share"),
        ({"sketch_share": 1.5}, "sketch_share"),
    ],
)
def test_an_impossible_plan_is_refused_by_name(settings: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PlanConfig(**settings)  # type: ignore[arg-type]
