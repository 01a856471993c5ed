import numpy as np
import pytest
from scipy import stats

from optidel.errors import InputError
from optidel.evaluation.comparisons import compare, holm


def slow_holm(values):
    """The step-down procedure itself: the smallest alpha, among all that can matter, at which each hypothesis
    is rejected.
    """
    count = len(values)
    alphas = sorted({min(1.0, p * factor) for p in values for factor in range(1, count + 1)} | {1.0})

    def rejected(alpha):
        done = set()
        for step, row in enumerate(sorted(range(count), key=lambda row: values[row])):
            if values[row] * (count - step) > alpha * (1 + 1e-12):
                break
            done.add(row)
        return done

    return [next((alpha for alpha in alphas if row in rejected(alpha)), 1.0) for row in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_holm_equals_the_step_down_procedure(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        p = (rng.random(count) ** 3).round(3).tolist()
        assert holm(p) == pytest.approx(slow_holm(p))


def test_holm_equals_a_published_example():
    """Wright 1992, table 2."""
    assert holm([0.005, 0.011, 0.02, 0.04, 0.13]) == pytest.approx([0.025, 0.044, 0.06, 0.08, 0.13])


def test_holm_of_nothing_and_of_nonsense():
    assert holm([]) == []
    with pytest.raises(InputError, match=r"1\.5"):
        holm([0.1, 1.5])


def family(rng, methods, seeds, images, shift=0.0):
    """Differences to one reference: they share its noise, that of the images and of the seeds."""
    reference = 0.02 * rng.normal(size=(seeds, 1)) + 0.05 * rng.normal(size=(seeds, images))
    own = (
        0.02 * rng.normal(size=(methods, seeds, 1))
        + 0.05 * rng.normal(size=(methods, 1, images))
        + 0.05 * rng.normal(size=(methods, seeds, images))
    )
    return list(own - reference + shift)


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.86), (5, 0.92)])
def test_joint_intervals_hold_all_truths_as_often_as_they_say(seeds, least):
    """With three seeds a little less often: their spread is sometimes not seen at all."""
    rng = np.random.default_rng(seeds)
    own = joint = false = 0
    for _ in range(200):
        found = compare(family(rng, 6, seeds, 40), rng, resamples=200)
        own += all(one.interval.low <= 0 <= one.interval.high for one in found)
        joint += all(one.joint.low <= 0 <= one.joint.high for one in found)
        false += any(one.p_holm < 0.05 for one in found)
    assert own / 200 < 0.9  # six chances to err
    assert joint / 200 >= least
    assert false / 200 <= 1.02 - least


def test_one_comparison_needs_no_correction():
    [one] = compare(family(np.random.default_rng(0), 1, 4, 50), np.random.default_rng(1))
    assert (one.joint.low, one.joint.high) == pytest.approx((one.interval.low, one.interval.high), rel=0.05)
    assert one.p == one.p_holm


def test_many_equal_methods_cost_nothing_and_independent_ones_what_sidak_says():
    rng = np.random.default_rng(2)
    same = family(rng, 1, 1, 2000)[0]
    alike = compare([same] * 8, rng)
    assert alike[0].joint.high - alike[0].joint.low == pytest.approx(
        alike[0].interval.high - alike[0].interval.low, rel=0.05
    )
    apart = compare(list(rng.normal(size=(8, 1, 2000))), rng)
    width = (apart[0].joint.high - apart[0].joint.low) / (apart[0].interval.high - apart[0].interval.low)
    assert width == pytest.approx(stats.norm.ppf((1 + 0.95 ** (1 / 8)) / 2) / stats.norm.ppf(0.975), rel=0.05)


def test_unequal_seeds_and_constant_differences_are_judged_too():
    rng = np.random.default_rng(3)
    found = compare([*family(rng, 2, 5, 30), *family(rng, 2, 3, 30), np.zeros((3, 30))], rng)
    assert len(found) == 5
    assert (found[-1].p, found[-1].joint.low, found[-1].joint.high) == (1.0, 0.0, 0.0)
    assert compare([], rng) == []
