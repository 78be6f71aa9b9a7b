"""The networks that learned optimizers train: what they compute and how they start."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support.inner_tasks import CLIP, DRAW, weights_of
from unspool.problems.character_lstm import GETTYSBURG
from unspool.problems.learned_optimizer import CNN, MLP, CharacterLM, classifier, text_task


def drawn_like(weights, scale=0.3):
    """Weights of the same shapes, biases included, that no initialization has made."""
    draw = np.random.default_rng(1).normal
    return jax.tree.map(lambda x: scale * draw(size=x.shape).astype(np.float32), weights)


def scores_of(network, weights, inputs):
    return network.scores(jax.tree.map(jnp.asarray, weights), jnp.asarray(inputs))


def count(weights):
    return sum(x.size for x in jax.tree.leaves(weights))


def log_softmax(scores):
    return scores - np.log(np.sum(np.exp(scores), axis=-1, keepdims=True))


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
