"""What learned optimizers train: networks, images and texts, and families of tasks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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

DRAW = np.random.default_rng(0)
CLIP = 1.5 * math.log(10)

TEMPLATES = DRAW.uniform(size=(4, 8, 8)).astype(np.float32)
KINDS = DRAW.integers(0, 4, 300).astype(np.int32)
NOISE = 0.2 * DRAW.normal(size=(300, 8, 8)).astype(np.float32)
IMAGES = Dataset(TEMPLATES[KINDS] + NOISE, KINDS)
"""Noisy copies of four images."""


def drawn_like(weights, scale=0.3):
    """Weights of the same shapes, biases included, that no initialisation has made."""
    draw = np.random.default_rng(1).normal
    return jax.tree.map(lambda x: scale * draw(size=x.shape).astype(np.float32), weights)


def scores_of(network, weights, inputs):
    return network.scores(jax.tree.map(jnp.asarray, weights), jnp.asarray(inputs))


def weights_of(network, seed=0):
    return classifier(network).init(jax.random.key(seed))


def count(weights):
    return sum(x.size for x in jax.tree.leaves(weights))


def log_softmax(scores):
    return scores - np.log(np.sum(np.exp(scores), axis=-1, keepdims=True))


# --- Networks. ---


def test_the_published_networks_have_their_numbers_of_parameters():
    assert count(weights_of(MLP())) == count(weights_of(MLP((64, 32, 32, 32, 10)))) == 4522
    assert count(weights_of(CNN())) == 29_930


def test_an_mlp_is_matrices_and_gelu():
    network = MLP((6, 5, 4, 3))
    weights = drawn_like(weights_of(network))
    inputs = DRAW.normal(size=(7, 2, 3)).astype(np.float32)
    x = inputs.reshape(7, 6)
    for name in ("layer0", "layer1", "layer2"):
        x = x @ weights[name]["matrix"] + weights[name]["bias"]
        if name != "layer2":
            x = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(scores_of(network, weights, inputs), x, atol=1e-6)


def test_layers_keep_their_order_when_there_are_more_than_ten():
    network = MLP((3, *range(4, 15), 2), jnp.tanh)
    # As any tree operation leaves them: sorted, with layer10 before layer2.
    weights = drawn_like(weights_of(network), scale=1)
    assert list(weights)[:3] == ["layer0", "layer1", "layer10"]
    x = inputs = DRAW.normal(size=(5, 3)).astype(np.float32)
    for index in range(12):
        layer = weights[f"layer{index}"]
        x = x @ layer["matrix"] + layer["bias"]
        x = np.tanh(x) if index < 11 else x
    np.testing.assert_allclose(scores_of(network, weights, inputs), x, rtol=1e-4, atol=1e-5)


def convolved(images, kernel, bias):
    """A convolution pixel by pixel, on images padded with zeros."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    outputs = np.zeros((*images.shape[:3], kernel.shape[3]), np.float32)
    for row in range(height):
        for column in range(width):
            patch = padded[:, row : row + 3, column : column + 3]
            outputs[:, row, column] = np.tensordot(patch, kernel, 3) + bias
    return outputs


@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 10), (5, 4, 1)])
def test_a_cnn_is_convolutions_rectifiers_and_means(shape):
    network = CNN((4, 5), shape, num_classes=3)
    weights = drawn_like(weights_of(network))
    images = DRAW.normal(size=(3, *shape)).astype(np.float32)
    x = images.reshape(3, *shape[:2], -1)
    for name in ("layer0", "layer1"):
        x = np.maximum(convolved(x, weights[name]["kernel"], weights[name]["bias"]), 0)
        corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        rows, columns = x.shape[1] // 2, x.shape[2] // 2
        x = np.mean([corner[:, :rows, :columns] for corner in corners], axis=0)
    expected = x.reshape(3, -1) @ weights["layer2"]["matrix"] + weights["layer2"]["bias"]
    np.testing.assert_allclose(scores_of(network, weights, images), expected, atol=1e-5)


def test_a_cnn_convolves_as_jax_does():
    network = CNN((6,), (8, 8, 3), num_classes=2, activation=jnp.tanh)
    weights = drawn_like(weights_of(network))
    images = jnp.asarray(DRAW.normal(size=(3, 8, 8, 3)), jnp.float32)
    kernel, bias = weights["layer0"]["kernel"], weights["layer0"]["bias"]
    order = ("NHWC", "HWIO", "NHWC")
    convolution = jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=order
    )
    hidden = jnp.tanh(np.asarray(convolution) + bias)
    pooled = jax.lax.reduce_window(hidden, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    flat = np.asarray(pooled).reshape(3, -1) / 4
    expected = flat @ weights["layer1"]["matrix"] + weights["layer1"]["bias"]
    np.testing.assert_allclose(scores_of(network, weights, images), expected, atol=1e-5)


def test_a_language_model_reads_character_by_character():
    network = CharacterLM(7, num_hidden=4, num_embedded=3)
    weights = drawn_like(weights_of(network))
    codes = DRAW.integers(0, 7, (5, 6))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    lstm, decoder = weights["lstm"], weights["decoder"]
    hidden, cell = np.zeros((5, 4)), np.zeros((5, 4))
    expected = []
    for place in range(6):
        x = weights["embedding"]["matrix"][codes[:, place]]
        gates = x @ lstm["input"] + hidden @ lstm["recurrence"] + lstm["bias"]
        enter, keep, fresh, leave = np.split(gates, 4, axis=1)
        cell = sigmoid(keep + 1) * cell + sigmoid(enter) * np.tanh(fresh)
        hidden = sigmoid(leave) * np.tanh(cell)
        expected.append(hidden @ decoder["matrix"] + decoder["bias"])
    scores = scores_of(network, weights, codes.astype(np.uint8))
    np.testing.assert_allclose(scores, np.stack(expected, axis=1), atol=1e-5)


def test_a_language_model_without_weights_knows_nothing(key):
    task = text_task(GETTYSBURG, length=20)
    zeros = jax.tree.map(jnp.zeros_like, task.model.init(key))
    loss = task.model.loss(zeros, task.data.draw_train(key))
    # The mean of 32 x 20 equal numbers, with a rounding each.
    np.testing.assert_allclose(loss, math.log(len(set(GETTYSBURG))), rtol=640 * 2**-24)


# --- Models. ---


def test_weights_start_truncated_normal_and_biases_at_zero():
    network = MLP((400, 250, 100))
    weights = weights_of(network)
    # Moments of a standard normal that is cut at two.
    density, inside = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    second = 1 - 4 * density / inside
    fourth = 3 * second - 16 * density / inside
    for layer, fan_in in (("layer0", 400), ("layer1", 250)):
        assert not np.any(weights[layer]["bias"])
        draws = np.asarray(weights[layer]["matrix"], float).ravel() * math.sqrt(fan_in)
        assert 1.99 < np.max(np.abs(draws)) <= 2
        assert abs(np.mean(draws)) < 4 * math.sqrt(second / draws.size)
        error = math.sqrt((fourth - second**2) / draws.size)
        assert abs(np.mean(draws**2) - second) < 4 * error
    images = CNN((8, 16), (8, 8, 3)).tensors
    assert images["layer1"]["kernel"].fan_in == 72
    assert images["layer2"]["matrix"] == ((64, 10), 64)


def test_the_scale_multiplies_all_weights(key):
    once, thrice = (classifier(CNN((2,), (4, 4)), scale).init(key) for scale in (1.0, 3.0))
    for x, y in zip(jax.tree.leaves(once), jax.tree.leaves(thrice), strict=True):
        np.testing.assert_allclose(3 * x, y, rtol=1e-6)


def test_each_run_draws_its_scale_from_a_range(key):
    network = MLP((40, 50, 60))
    keys = jax.random.split(key, 400)
    weights = jax.vmap(classifier(network, (0.1, 10.0)).init)(keys)
    first, second = (
        np.std(weights[name]["matrix"], axis=(1, 2)) * math.sqrt(fan_in)
        for name, fan_in in (("layer0", 40), ("layer1", 50))
    )
    np.testing.assert_allclose(first, second, rtol=0.2)
    logs = np.log10(first / 0.8796)
    # Uniform from -1 to 1, which a standard deviation of 0.02 or so blurs.
    assert -1.05 < logs.min() < -0.97 and 0.97 < logs.max() < 1.05
    assert abs(np.mean(logs)) < 4 * math.sqrt(1 / 3 / 400)
    assert abs(np.mean(logs**2) - 1 / 3) < 4 * math.sqrt((1 / 5 - 1 / 9) / 400)


def test_the_clip_is_of_every_example_and_not_of_training():
    network = MLP((3, 3))
    model = classifier(network, clip=CLIP)
    weights = {"layer0": {"bias": jnp.zeros(3), "matrix": jnp.eye(3)}}
    inputs = jnp.array([[0, 0, 0], [9, 0, 0], [0, 50, 0], [math.inf, 0, 0]])
    labels = jnp.array([0, 0, 2, 1])
    finite = -log_softmax(np.asarray(inputs[:3], float))[range(3), [0, 0, 2]]
    unclipped = model.loss(weights, (inputs[:3], labels[:3]))
    np.testing.assert_allclose(unclipped, np.mean(finite), rtol=1e-6)
    clipped = model.loss_held_out(weights, (inputs[:3], labels[:3]))
    np.testing.assert_allclose(clipped, (finite[0] + finite[1] + CLIP) / 3, rtol=1e-5)
    assert np.isnan(model.loss_held_out(weights, (inputs, labels)))
    assert model.accuracy(weights, (inputs[:3], labels[:3])) == pytest.approx(2 / 3)
    plain = classifier(network)
    assert plain.loss_held_out(weights, (inputs[:3], labels[:3])) == unclipped


def test_equal_options_make_equal_models():
    first, second = (classifier(MLP((4, 2)), (0.5, 2.0), CLIP) for _ in range(2))
    # What JAX compares before it compiles once more.
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert jax.tree.leaves(first) == jax.tree.leaves(second)


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
    (lambda: classifier(MLP(), clip=-1.0), "clip must be a finite number above 0, got -1.0"),
    (lambda: image_task(IMAGES, MLP((9, 4))), r"sizes\[0\] must be 64 for inputs .*, got 9"),
    (lambda: image_task(IMAGES, MLP((64, 3))), "images must have targets from 0 to 2, .*, got 3"),
    (lambda: image_task(IMAGES, CNN((2,), (4, 4))), r"image_shape must be .*8\), got \(4, 4\)"),
    (lambda: image_task(IMAGES, CharacterLM(4)), r"inputs must be stretches .*, got .* \(8, 8\)"),
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
