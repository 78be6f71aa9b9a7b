"""Data sets cut into parts at random, and brought to one scale."""

import numpy as np
import pytest

from support.data import error_of
from unspool import data

RANDOM = np.random.default_rng(0)

# --- Parts. ---


def numbered(num_examples):
    """Examples of which the inputs say which they are, and the targets too."""
    numbers = np.arange(num_examples)
    return data.Dataset(np.stack([numbers, numbers], axis=1), 10 * numbers)


@pytest.mark.parametrize(
    ("num_examples", "sizes", "counts"),
    [
        (1797, (1400, 397), [1400, 397]),
        (1797, (1400, 300), [1400, 300]),
        (1797, (1797,), [1797]),
        (1797, (1400, -1), [1400, 397]),
        (1797, (-1, 0.2), [1438, 359]),
        (1797, (0.8, 0.2), [1438, 359]),
        (10, (0.25, 0.25, 0.5), [3, 2, 5]),
        (3, (0.5, 0.5), [2, 1]),
        (7, (1 / 3, 1 / 3, 1 / 3), [2, 3, 2]),
        (10, (0.1, 0.2, 0.7), [1, 2, 7]),
        (6, (0.25, 4), [2, 4]),
        (10, (0.3, 2, -1), [3, 2, 5]),
        (10, (0.3, 0.3), [3, 3]),
    ],
)
def test_parts_are_disjoint_and_as_large_as_asked(num_examples, sizes, counts):
    whole = numbered(num_examples)
    parts = data.split(whole, *sizes)
    assert [len(part.inputs) for part in parts] == counts
    drawn = np.concatenate([part.targets for part in parts])
    assert len(set(drawn.tolist())) == sum(counts) and set(drawn) <= set(whole.targets)
    for part in parts:
        np.testing.assert_array_equal(part.inputs[:, 1] * 10, part.targets)


def test_parts_depend_on_the_seed_alone():
    whole = numbered(50)
    first, again, other = (data.split(whole, 20, 30, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.targets, again.targets)
    assert set(first.targets) != set(other.targets)
    order = 10 * np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(first.targets, order[:20])
    # The first part is the same however the others are cut.
    np.testing.assert_array_equal(data.split(whole, 20, 5)[0].targets, order[:20])


def test_every_example_is_as_likely_in_every_part():
    chosen = np.zeros(10)
    for seed in range(400):
        chosen[data.split(numbered(10), 3, seed=seed)[0].inputs[:, 0]] += 1
    # Each count has mean 120 and variance 400 * 0.3 * 0.7.
    assert np.all(np.abs(chosen - 120) < 4 * np.sqrt(84))


LEGAL = "must be an integer of at least 1, a fraction between 0 and 1, or -1 for the rest, got"
PART = "must leave its part at least 1 of 10 examples, got"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((), "sizes must name at least 1 size, got none"),
        ((5, 0), f"sizes[1] {LEGAL} 0"),
        ((-2,), f"sizes[0] {LEGAL} -2"),
        ((1.0,), f"sizes[0] {LEGAL} 1.0"),
        ((5, 2.5), f"sizes[1] {LEGAL} 2.5"),
        ((-0.5,), f"sizes[0] {LEGAL} -0.5"),
        ((float("nan"),), f"sizes[0] {LEGAL} nan"),
        ((-1, 5, -1), "sizes may have -1 for the rest once, got -1, 5, -1"),
        (
            (5, 6),
            "sizes must come to at most the 10 examples of the data set together, got 5, 6, which "
            "come to 11",
        ),
        (
            (0.5, 6),
            "sizes must come to at most the 10 examples of the data set together, got 0.5, 6, "
            "which come to 11",
        ),
        ((10, -1), f"sizes[1] {PART} -1 of 10, -1"),
        ((5, 0.01), f"sizes[1] {PART} 0.01 of 5, 0.01"),
    ],
)
def test_illegal_sizes_are_named(sizes, message):
    assert error_of(ValueError, lambda: data.split(numbered(10), *sizes)) == message


def test_illegal_seeds_and_data_sets_are_named():
    assert error_of(ValueError, lambda: data.split(numbered(10), 5, seed=-1)) == (
        "seed must be an integer of at least 0, got -1; the nearest legal value is 0"
    )
    legal = "must have at least 1 example, on the first axis of its inputs and of its targets alike"
    uneven = data.Dataset(np.zeros((3, 2)), np.zeros(2))
    assert error_of(ValueError, lambda: data.split(uneven, 1)) == (
        f"dataset {legal}, got inputs of the shape (3, 2) and targets of the shape (2,)"
    )
    empty = data.Dataset(np.zeros((0, 2)), np.zeros(0))
    assert error_of(ValueError, lambda: data.standardize(numbered(3), empty)) == (
        f"others[0] {legal}, got inputs of the shape (0, 2) and targets of the shape (0,)"
    )


# --- One scale. ---


def table_of(inputs):
    return data.Dataset(np.asarray(inputs), np.arange(len(inputs)))


def test_features_are_scaled_by_the_first_data_set():
    first = table_of([[0.0, 10.0], [2.0, 30.0]])
    second = table_of([[1.0, 20.0], [4.0, -20.0]])
    scaled, other = data.standardize(first, second)
    np.testing.assert_array_equal(scaled.inputs, [[-1, -1], [1, 1]])
    np.testing.assert_array_equal(other.inputs, [[0, 0], [3, -4]])
    for before, after in ((first, scaled), (second, other)):
        np.testing.assert_array_equal(before.targets, after.targets)
    # Neither the number of the others nor what is in them matters to the first.
    (alone,) = data.standardize(first)
    np.testing.assert_array_equal(alone.inputs, scaled.inputs)
    np.testing.assert_array_equal(first.inputs, [[0, 10], [2, 30]])


@pytest.mark.parametrize("shape", [(20, 5, 4), (20, 5, 4, 3)], ids=["gray", "color"])
def test_images_are_scaled_by_one_mean_over_all_pixels(shape):
    images = table_of(RANDOM.uniform(size=shape).astype(np.float32))
    (scaled,) = data.standardize(images)
    assert scaled.inputs.dtype == np.float32
    exact = images.inputs.astype(np.float64)
    expected = (exact - exact.mean()) / exact.std()
    np.testing.assert_allclose(scaled.inputs, expected, rtol=1e-4, atol=1e-6)
    # A mean for each pixel would have made all of these zero.
    assert np.max(np.abs(scaled.inputs.mean(axis=0))) > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_features_stay_at_zero(dtype):
    """Also where their mean after rounding is not quite themselves, as that of ten times 0.1."""
    inputs = np.stack([np.full(10, 0.1), np.arange(10)], axis=1).astype(dtype)
    later = np.array([[0.6, 4.5]], dtype)
    scaled, other = data.standardize(table_of(inputs), table_of(later))
    assert scaled.inputs.dtype == other.inputs.dtype == dtype
    assert np.all(scaled.inputs[:, 0] == 0)
    np.testing.assert_allclose(other.inputs, [[0.5, 0]], rtol=1e-6)
    (black,) = data.standardize(table_of(np.full((2, 3, 3), 0.7, dtype)))
    assert np.all(black.inputs == 0)


def test_integers_and_single_features_are_scaled():
    (scaled,) = data.standardize(table_of(np.array([1, 3, 5, 7])))
    np.testing.assert_allclose(scaled.inputs, np.array([-3, -1, 1, 3]) / np.sqrt(5))
    (pixels,) = data.standardize(table_of(np.array([[0], [255]], np.uint8)))
    assert pixels.inputs.dtype == np.float32 and list(pixels.inputs[:, 0]) == [-1, 1]


def test_many_examples_lose_no_digits():
    """Summed in float32, a column far from zero would have lost its third digit."""
    inputs = (1000 + RANDOM.normal(size=(200_000, 2))).astype(np.float32)
    (scaled,) = data.standardize(table_of(inputs))
    exact = scaled.inputs.astype(np.float64)
    # What is left is the rounding of 1000 itself, half of 2 to the power of -14.
    np.testing.assert_allclose(exact.mean(axis=0), 0, atol=2**-15)
    np.testing.assert_allclose(exact.std(axis=0), 1, rtol=2**-15)


def test_inputs_that_do_not_fit_are_named():
    first, wide = table_of(np.eye(3)), table_of(np.ones((2, 4)))
    assert error_of(ValueError, lambda: data.standardize(first, first, wide)) == (
        "others[1] must have inputs of the shape (3,) as the first data set has, got (4,)"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_named(value):
    inputs = np.eye(3)
    inputs[2, 1] = value
    assert error_of(ValueError, lambda: data.standardize(table_of(inputs))) == (
        f"dataset must have finite inputs, got {value} at (2, 1) (counted from 0)"
    )
