"""What learned optimizers train: images and texts, and families of tasks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from support.inner_tasks import CLIP, DRAW, weights_of
from unspool import data
from unspool.data import Dataset
from unspool.problems.character_lstm import GETTYSBURG
from unspool.problems.learned_optimizer import (
    CNN,
    MLP,
    CharacterLM,
    MLPOptimizer,
    OptimizerTraining,
    TaskFamily,
    classifier,
    image_task,
    text_task,
)

TEMPLATES = DRAW.uniform(size=(4, 8, 8)).astype(np.float32)
KINDS = DRAW.integers(0, 4, 300).astype(np.int32)
NOISE = 0.2 * DRAW.normal(size=(300, 8, 8)).astype(np.float32)
IMAGES = Dataset(TEMPLATES[KINDS] + NOISE, KINDS)
"""Noisy copies of four images."""

# --- Images. ---


@pytest.mark.parametrize("shape", [(28, 28), (10, 13), (5, 5, 3), (8, 8)])
def test_resize_samples_as_jax_without_antialiasing(shape):
    images = DRAW.uniform(size=(4, *shape)).astype(np.float32)
    resized = data.resize(Dataset(images, np.arange(4)), 8)
    new_shape = (4, 8, 8, *shape[2:])
    expected = jax.image.resize(images, new_shape, "linear", antialias=False)
    assert resized.inputs.dtype == np.float32 and resized.inputs.shape == new_shape
    np.testing.assert_allclose(resized.inputs, expected, atol=1e-6)
    np.testing.assert_array_equal(resized.targets, np.arange(4))


def test_resize_has_half_pixel_centres():
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8), (1, 28, 28))
    images, _ = data.resize(Dataset(ramp, np.zeros(1)), 8)
    assert images.dtype == np.float32
    for row in images[0]:
        np.testing.assert_allclose(row, (np.arange(8) + 0.5) * 3.5 - 0.5)
    down, _ = data.resize(Dataset(np.swapaxes(ramp, 1, 2), np.zeros(1)), 8)
    np.testing.assert_array_equal(down[0], images[0].T)


def test_the_last_fifth_of_the_images_is_held_out():
    inputs = np.arange(57, dtype=np.float32).reshape(-1, 1)
    task = image_task(Dataset(inputs, np.arange(57) % 3), MLP((1, 3)), batch_size=5)
    train, valid = task.data.train, task.data.valid
    assert [len(x) for x in (*train, *valid)] == [45, 45, 12, 12]
    np.testing.assert_array_equal(jnp.concatenate([train[0], valid[0]]), inputs)
    np.testing.assert_array_equal(jnp.concatenate([train[1], valid[1]]), np.arange(57) % 3)
    assert task.data.batch_size == task.data.valid_batch_size == 5


# --- Texts. ---


def test_a_text_is_cut_into_stretches():
    text = "".join(chr(ord("a") + i % 26) for i in range(103)) + "é€"
    task = text_task(text, length=4, batch_size=2)
    codes = np.array([sorted(set(text)).index(x) for x in text])
    (read, following), (read_out, following_out) = task.data.train, task.data.valid
    assert read.dtype == np.uint8 and read.shape == (20, 4) and read_out.shape == (5, 4)
    np.testing.assert_array_equal(np.ravel(read), codes[:80])
    np.testing.assert_array_equal(np.ravel(following), codes[1:81])
    np.testing.assert_array_equal(np.ravel(read_out), codes[84:104])
    np.testing.assert_array_equal(np.ravel(following_out), codes[85:105])


def test_many_characters_are_stored_in_two_bytes():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    (read, _), network = text_task(text, CharacterLM(400), length=10).data.train, CharacterLM(400)
    assert read.dtype == np.uint16 and int(read.max()) == 229
    assert network.scores(weights_of(network), read[:2]).shape == (2, 10, 400)


def test_text_is_read_from_a_file(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes("\ufeffSchöne\r\nZeilen\n".encode())
    assert data.text(path) == "Schöne\nZeilen\n"
    path.write_bytes(b"Sch\xf6ne")
    with pytest.raises(ValueError, match=r"book.txt must be text in UTF-8, got the byte 0xf6 at 3"):
        data.text(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="must have at least 1 character, got none"):
        data.text(path)
    with pytest.raises(FileNotFoundError, match="none.txt"):
        data.text(tmp_path / "none.txt")


# --- Tasks. ---

TASKS = {
    "mlp": lambda: image_task(IMAGES, MLP((64, 16, 4)), 32),
    "cnn": lambda: image_task(IMAGES, CNN((8, 8), (8, 8), 4), 32, clip=CLIP),
    "text": lambda: text_task(GETTYSBURG, length=16, batch_size=8, clip=5.0),
}


@pytest.mark.parametrize("name", TASKS)
def test_training_lowers_the_loss(name, key):
    task = TASKS[name]()
    optimizer = optax.adam(1e-2)

    @jax.jit
    def trained(key):
        def step(carry, key):
            weights, state = carry
            batch = task.data.draw_train(key)
            loss, gradient = jax.value_and_grad(task.model.loss)(weights, batch)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(weights, updates), state), loss

        weights = task.model.init(key)
        carry = (weights, optimizer.init(weights))
        (weights, _), losses = jax.lax.scan(step, carry, jax.random.split(key, 100))
        return losses, task.model.accuracy(weights, task.data.valid)

    losses, accuracy = trained(key)
    # To know nothing, and to know how frequent the classes are and no more.
    classes = list(GETTYSBURG) if name == "text" else KINDS
    shares = np.unique(classes, return_counts=True)[1] / len(classes)
    assert abs(losses[0] - math.log(len(shares))) < 0.2
    last = np.asarray(losses[-20:])
    assert np.mean(last) + 4 * np.std(last) / math.sqrt(20) < -shares @ np.log(shares)
    assert accuracy > (np.max(shares) if name == "text" else 0.9)


@pytest.mark.parametrize("name", TASKS)
def test_a_learned_optimizer_trains_a_task(name, key):
    problem = OptimizerTraining(MLPOptimizer((4,)), TASKS[name](), horizon=3)

    def loss(key):
        params = problem.init_params(key=key)
        state = problem.init_state(params, key=key)
        return problem.step(params, state, jnp.array(0), key=key)[1]

    assert jax.eval_shape(loss, key).shape == ()


# --- Families. ---

FAMILY = TaskFamily(
    {"noisy": IMAGES, "small": data.resize(IMAGES, 4)}, (3, 40), (0, 3), (7, 90), (0.5, 2.0)
)


def sizes(tasks):
    """The layers and the batch size of each task."""
    weights = [jax.eval_shape(task.model.init, jax.random.key(0)) for task in tasks]
    return [
        (tuple(layer["matrix"].shape for layer in w.values()), task.data.batch_size)
        for w, task in zip(weights, tasks, strict=True)
    ]


def test_a_family_draws_within_its_ranges():
    drawn = sizes(FAMILY.sample(200))
    depths = [len(shapes) - 1 for shapes, _ in drawn]
    widths = [shapes[0][1] for shapes, _ in drawn if len(shapes) > 1]
    batches = [batch_size for _, batch_size in drawn]
    for shapes, _ in drawn:
        assert shapes[0][0] in (16, 64) and shapes[-1][1] == 4
        assert len({x for _, x in shapes[:-1]}) <= 1
    assert set(depths) == {0, 1, 2, 3}
    assert min(widths) >= 3 and max(widths) <= 40 and min(batches) >= 7 and max(batches) <= 90
    # Fair coins and dice, within four standard errors.
    share = np.mean([shapes[0][0] == 16 for shapes, _ in drawn])
    assert abs(share - 1 / 2) < 4 * math.sqrt(1 / 4 / 200)
    assert abs(np.mean(depths) - 1.5) < 4 * math.sqrt(1.25 / 200)
    for values, low, high in ((widths, 3, 40), (batches, 7, 90)):
        numbers = np.arange(low, high + 1)
        chances = np.log((numbers + 1) / numbers) / math.log((high + 1) / low)
        mean = chances @ numbers
        error = math.sqrt(chances @ (numbers - mean) ** 2 / len(values))
        assert abs(np.mean(values) - mean) < 4 * error


def test_a_family_is_a_function_of_its_seed():
    tasks = FAMILY.sample(6, seed=3)
    assert [task.name for task in tasks[:4]] == [task.name for task in FAMILY.sample(4, seed=3)]
    assert sizes(tasks[:4]) == sizes(FAMILY.sample(4, seed=3))
    assert sizes(tasks) != sizes(FAMILY.sample(6, seed=4))
    for task, (shapes, batch_size) in zip(tasks, sizes(tasks), strict=True):
        source = "noisy" if shapes[0][0] == 64 else "small"
        units = (
            f"{len(shapes) - 1} x {shapes[0][1]} units" if len(shapes) > 1 else "no hidden layer"
        )
        assert task.name == f"{source}, {units}, batches of {batch_size}"
        assert len(task.data.draw_valid(jax.random.key(0))[0]) == batch_size


def test_tasks_of_a_family_share_their_images():
    images = [task.data.train[0] for task in FAMILY.sample(8)]
    assert len({id(x) for x in images}) == 2


def test_a_range_of_one_is_a_number(key):
    family = TaskFamily({"noisy": IMAGES}, (6, 6), (2, 2), (9, 9), (1.0, 1.0))
    (task,) = family.sample(1)
    assert sizes([task]) == [(((64, 6), (6, 6), (6, 4)), 9)]
    assert task.name == "noisy, 2 x 6 units, batches of 9"


# --- Errors. ---


def wrong(images=IMAGES, **changes):
    return lambda: image_task(images._replace(**changes), MLP((64, 4)))


ERRORS = [
    (lambda: MLP((3,)), "sizes must have the numbers of inputs and of classes"),
    (lambda: MLP((3, 0, 2)), r"sizes\[1\] must be an integer of at least 1, got 0"),
    (lambda: CNN(image_shape=(32,)), r"image_shape must be \(height, width\) or .*, got \(32,\)"),
    (lambda: CNN((4, 0)), r"channels\[1\] must be an integer of at least 1, got 0"),
    (lambda: CNN(image_shape=(8, 8)), "channels must be at most 3 for images .*, got 4"),
    (lambda: CNN(num_classes=0), "num_classes must be an integer of at least 1, got 0"),
    (lambda: CharacterLM(9, num_hidden=0), "num_hidden must be an integer of at least 1, got 0"),
    (lambda: classifier(MLP(), 0.0), "init_scale must be a finite number above 0, got 0.0"),
    (lambda: classifier(MLP(), (2.0, 1.0)), r"init_scale must be .*, got \(2.0, 1.0\)"),
    (lambda: classifier(MLP(), (1.0, math.inf)), r"init_scale must be .*, got \(1.0, inf\)"),
    (lambda: classifier(MLP(), clip=-1.0), "clip must be a finite number above 0, got -1.0"),
    (lambda: image_task(IMAGES, MLP((9, 4))), r"sizes\[0\] must be 64 for inputs .*, got 9"),
    (lambda: image_task(IMAGES, MLP((64, 3))), "images must have targets from 0 to 2, .*, got 3"),
    (lambda: image_task(IMAGES, CNN((2,), (4, 4))), r"image_shape must be .*8\), got \(4, 4\)"),
    (lambda: image_task(IMAGES, CharacterLM(4)), r"inputs must be segments .*, got .* \(8, 8\)"),
    (lambda: image_task(IMAGES, MLP((64, 4)), 0), "batch_size must be an integer .*, got 0"),
    (wrong(targets=KINDS - 1), "images must have targets from 0 to 3, .*, got -1"),
    (wrong(targets=KINDS / 2), "images must have an integer class .*, got float64"),
    (wrong(inputs=IMAGES.inputs[:1], targets=KINDS[:1]), "images must have an example .*, got 1"),
    (lambda: text_task("abc" * 9, length=6), "text must have at least 31 characters, .*, got 27"),
    (lambda: text_task("", length=6), "text must have at least 31 characters, .*, got 0"),
    (
        lambda: text_task("abc" * 20, CharacterLM(2), length=6),
        "network must have at least 3 classes, .*, got 2; the nearest legal value is 3",
    ),
    (lambda: text_task("abc" * 20, length=0), "length must be an integer of at least 1, got 0"),
    (lambda: text_task("abc" * 20, MLP(), length=6), r"sizes\[0\] must be 6 .*, got 64"),
    (lambda: data.resize(IMAGES, 0), "side must be an integer of at least 1, got 0"),
    (
        lambda: data.resize(Dataset(np.ones((2, 5)), KINDS[:2]), 8),
        r"dataset must have inputs of the shape .*, got \(2, 5\)",
    ),
    (lambda: TaskFamily({}), "images must have a data set at least, got none"),
    (lambda: TaskFamily({"a": IMAGES}, (4, 3)), r"width\[1\] must be .* at least 4, got 3"),
    (lambda: TaskFamily({"a": IMAGES}, depth=(-1, 3)), r"depth\[0\] must be .* 0, got -1"),
    (lambda: TaskFamily({"a": IMAGES}, init_scale=(0.0, 1.0)), r"init_scale must .*\(0.0, 1.0\)"),
    (lambda: TaskFamily({"a": IMAGES}, init_scale=(1.0, math.inf)), r"init_scale must .*, inf\)"),
    (
        lambda: TaskFamily({"a": IMAGES._replace(targets=KINDS / 2)}),
        r"images\['a'\] must have an integer class for each example",
    ),
    (lambda: FAMILY.sample(0), "count must be an integer of at least 1, got 0"),
    (lambda: FAMILY.sample(1, seed=-1), "seed must be an integer of at least 0, got -1"),
]


@pytest.mark.parametrize(("make", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_a_mistake_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
