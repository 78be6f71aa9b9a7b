"""Training runs as problems: schedules, objectives, divergence, and the way out."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool import export
from unspool.problems import schedules
from unspool.problems.schedules import (
    Constant,
    Cosine,
    Data,
    Final,
    Identity,
    InverseTime,
    Linear,
    Log,
    Logit,
    Model,
    ModelTraining,
    PerGroup,
    PerTensor,
    Piecewise,
    Spline,
    TrainLoss,
    ValidAccuracy,
    ValidLoss,
)

DRAW = np.random.default_rng(0)
INPUTS = DRAW.normal(size=(60, 3)).astype(np.float32)
LABELS = (INPUTS @ np.array([1.0, -2.0, 0.5]) + 0.3 > 0).astype(np.int32)
TRAIN, VALID = (INPUTS[:40], LABELS[:40]), (INPUTS[40:], LABELS[40:])


def init(key):
    return {"bias": jnp.zeros(2), "matrix": 0.1 * jax.random.normal(key, (3, 2))}


def scores(weights, inputs):
    return inputs @ weights["matrix"] + jnp.outer(jnp.ones(len(inputs)), weights["bias"])


def loss(weights, batch):
    inputs, labels = batch
    labels = jax.nn.one_hot(labels, 2)
    return jnp.mean(optax.softmax_cross_entropy(scores(weights, inputs), labels))


@jax.custom_jvp
def accuracy(weights, batch):
    inputs, labels = batch
    return jnp.mean(jnp.argmax(scores(weights, inputs), axis=1) == labels, dtype=float)


@accuracy.defjvp
def _(primals, tangents):
    raise AssertionError("the accuracy has been differentiated")


def training(space=None, objective=None, make_optimizer=optax.sgd, **settings):
    space = {"learning_rate": Constant(0.5)} if space is None else space
    data = Data(TRAIN, VALID, settings.pop("batch_size", 8))
    model = Model(init, loss, accuracy, settings.pop("model_space", {}))
    horizon = settings.pop("horizon", 20)
    objective = objective or ValidLoss()
    return ModelTraining(model, data, make_optimizer, space, horizon, objective)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (Constant(0.3), lambda t: 0.3),
        (Constant(0.9, Logit()), lambda t: 0.9),
        (Constant(-2.0, Identity()), lambda t: -2.0),
        (Linear(0.1, 0.01), lambda t: 0.1 * (1 - t / 12) + 0.01 * t / 12),
        (Cosine(0.1, 0.02), lambda t: 0.02 + 0.08 * (1 + math.cos(math.pi * t / 12)) / 2),
        (InverseTime(0.2, 1.5), lambda t: 0.2 / (1 + t / 12) ** 1.5),
        (InverseTime(0.2, 1.5, timescale=5.0), lambda t: 0.2 / (1 + t / 5) ** 1.5),
        (Piecewise((0.1, 0.2, 0.4)), lambda t: (0.1, 0.2, 0.4)[min(t // 4, 2)]),
        # A natural spline goes through its knots, and through straight lines as they are.
        (Spline((1.0, 2.0, 3.0), Identity()), lambda t: 1 + t / 6),
        (Spline((0.1, 0.3, 0.2, 0.4)), lambda t: {0: 0.1, 4: 0.3, 8: 0.2, 12: 0.4}.get(t)),
    ],
)
def test_a_schedule_has_the_values_of_its_formula(family, expected, float64):
    coordinates = family.init()
    for t in range(13):
        if (value := expected(t)) is not None:
            np.testing.assert_allclose(family.value(coordinates, t, 12), value, rtol=1e-12)


def test_a_spline_bends_no_more_than_it_must(float64):
    """Between two knots of a natural spline the curve of three knots is known by hand."""
    family = Spline((0.0, 1.0, 0.0), Identity())
    x = 0.25
    by_hand = (6 * x - 8 * x**3) / 2 - 0.0
    np.testing.assert_allclose(family.value(family.init(), 1, 4), by_hand, rtol=1e-12)


def test_numbers_are_in_the_units_of_the_hyperparameter(float64):
    problem = training({"learning_rate": InverseTime(0.2, 3.0), "momentum": Constant(0.9, Logit())})
    numbers = problem.natural_units(problem.init_params(key=jax.random.key(0)))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12),
        numbers,
        {"learning_rate": {"decay": 3.0, "first": 0.2}, "momentum": 0.9},
    )


def test_an_optimizer_begins_with_the_hyperparameters_of_the_first_step(float64):
    """One that keeps the rate that it begins with never sees another."""

    def keeping(learning_rate):
        update = lambda grads, rate, _: (jax.tree.map(lambda g: -rate * g, grads), rate)
        return optax.GradientTransformation(lambda _: learning_rate, update)

    problem = training({"learning_rate": Linear(0.5, 0.1)}, make_optimizer=keeping)
    key = jax.random.key(0)
    curve = schedules.learning_curve(problem, problem.init_params(key=key), key=key, every=20)
    expected = plain_loop(problem, keeping(0.5), key, 20)
    np.testing.assert_allclose(curve.loss, expected, rtol=1e-9)


def test_values_are_clipped_to_their_bounds():
    transform = Log(low=0.01, high=1.0)
    values = transform.value(jnp.log(jnp.array([1e-4, 0.1, 50.0])))
    np.testing.assert_allclose(values, [0.01, 0.1, 1.0], rtol=1e-6)


def plain_loop(problem, optimizer, key, every, **hyper):
    """What anyone would write: no part of it is the library's but the batches."""
    weights = init(key)
    state, losses = optimizer.init(weights), [loss(weights, VALID)]
    for t in range(problem.horizon):
        index = jax.random.bits(jax.random.fold_in(key, t), (8,)) % 40
        batch = jax.tree.map(lambda x, i=index: jnp.asarray(x)[i], TRAIN)
        updates, state = optimizer.update(jax.grad(loss)(weights, batch), state, weights)
        weights = optax.apply_updates(weights, updates)
        if (t + 1) % every == 0:
            losses.append(loss(weights, VALID))
    return np.array(losses)


SPACES = {
    "sgd": (optax.sgd, {"learning_rate": Cosine(0.5, 0.05), "momentum": Constant(0.8, Logit())}),
    "adamw": (optax.adamw, {"learning_rate": InverseTime(0.1, 2.0), "weight_decay": Constant(0.1)}),
    "rmsprop": (optax.rmsprop, {"learning_rate": Spline((0.1, 0.2, 0.1)), "eps": Constant(1e-6)}),
    "lion": (optax.lion, {"learning_rate": Piecewise((0.1, 0.01)), "b1": Constant(0.9, Logit())}),
}


@pytest.mark.parametrize("name", [slow(name, when=name != "adamw") for name in SPACES])
def test_the_exported_schedule_reproduces_the_curve_without_the_library(name, tmp_path):
    make_optimizer, space = SPACES[name]
    problem, key = training(space, make_optimizer=make_optimizer), jax.random.key(3)
    params = jax.tree.map(lambda x: x + 0.1, problem.init_params(key=key))
    curve = schedules.learning_curve(problem, params, key=key, every=5)
    np.testing.assert_array_equal(curve.step, [0, 5, 10, 15, 20])

    export.save(problem, params, tmp_path / "tuned.json")
    tables = json.loads((tmp_path / "tuned.json").read_text())["hyperparameters"]
    values = {k: jnp.asarray(entry["values"]) for k, entry in tables.items()}
    constants = {k: v for k, v in values.items() if v.ndim == 0}
    (rate,) = (v for v in values.values() if v.ndim)
    plain = make_optimizer(learning_rate=lambda count: rate[count], **constants)
    found = plain_loop(problem, plain, key, 5)
    np.testing.assert_allclose(found, curve.loss, rtol=2e-5)

    untuned = make_optimizer(learning_rate=lambda count: 0.5 * rate[count], **constants)
    assert np.max(np.abs(plain_loop(problem, untuned, key, 5) - curve.loss)) > 1e-3

    found = plain_loop(problem, export.optimizer(problem, params), key, 5)
    np.testing.assert_allclose(found, curve.loss, rtol=2e-5)
    of_problem = export.schedules(problem, params)
    for k, schedule in export.load_schedules(tmp_path / "tuned.json").items():
        for count in (0, 7, 19, 40):
            np.testing.assert_allclose(schedule(count), of_problem[k](count), rtol=1e-6)


def test_every_tensor_has_hyperparameters_of_its_own(tmp_path):
    space = {
        "learning_rate": PerTensor(Linear(0.5, 0.1)),
        "momentum": PerTensor(Constant(0.5, Logit())),
    }
    problem, key = training(space), jax.random.key(0)
    assert problem.tensors == ("bias", "matrix")
    params = problem.init_params(key=key)
    assert jax.tree.map(jnp.shape, params) == {
        "learning_rate": {"first": (2,), "last": (2,)},
        "momentum": (2,),
    }
    params["learning_rate"]["first"] = jnp.log(jnp.array([0.3, 0.7]))
    params["momentum"] = jnp.array([-1.0, 2.0])
    curve = schedules.learning_curve(problem, params, key=key, every=20)

    weights, trace = init(key), jax.tree.map(jnp.zeros_like, init(key))
    momenta = dict(zip(problem.tensors, jax.nn.sigmoid(params["momentum"]), strict=True))
    firsts = {"bias": 0.3, "matrix": 0.7}
    for t in range(20):
        batch = problem.data.draw_train(jax.random.fold_in(key, t))
        gradient = jax.grad(loss)(weights, batch)
        for name in weights:
            rate = firsts[name] * (1 - t / 20) + 0.1 * t / 20
            trace[name] = momenta[name] * trace[name] + gradient[name]
            weights[name] = weights[name] - rate * trace[name]
    np.testing.assert_allclose(curve.loss[-1], loss(weights, VALID), rtol=2e-5)

    found = plain_loop(problem, export.optimizer(problem, params), key, 20)
    np.testing.assert_allclose(found, curve.loss, rtol=2e-5)
    export.save(problem, params, tmp_path / "tuned.json")
    loaded = export.load_schedules(tmp_path / "tuned.json")
    np.testing.assert_allclose(loaded["momentum"]["matrix"](3), momenta["matrix"], rtol=1e-6)
    entries = json.loads((tmp_path / "tuned.json").read_text())["hyperparameters"]
    told = {name: (entry["of"], entry["family"]) for name, entry in entries.items()}
    assert told == {"learning_rate": ("optimizer", "Linear"), "momentum": ("optimizer", "Constant")}
    np.testing.assert_allclose(
        loaded["learning_rate"]["bias"](10), 0.3 * 0.5 + 0.1 * 0.5, rtol=1e-5
    )


@pytest.mark.parametrize("count", [3, 1])
def test_the_model_has_hyperparameters_too(count):
    def scaled(weights, batch, scale):
        return loss(jax.tree.map(lambda x: x * jnp.prod(scale), weights), batch)

    model = Model(init, scaled, space={"scale": PerGroup(Constant(0.5), count)})
    problem = ModelTraining(
        model, Data(TRAIN), optax.sgd, {"learning_rate": Constant(0.1)}, 5, TrainLoss()
    )
    params = problem.init_params(key=jax.random.key(0))
    assert params["scale"].shape == (count,)
    assert set(export.schedules(problem, params)) == {"learning_rate", "scale"}
    state = problem.init_state(params, key=jax.random.key(0))
    state, measured = problem.step(params, state, jnp.array(0), key=jax.random.key(1))
    smaller = jax.tree.map(lambda x: x / 2**count, state["weights"])
    np.testing.assert_allclose(measured, loss(smaller, TRAIN), rtol=1e-6)


def test_the_final_objective_is_the_sum_of_its_changes():
    problem, key = training(objective=Final(ValidLoss())), jax.random.key(0)
    params = problem.init_params(key=key)
    state, total = problem.init_state(params, key=key), 0.0
    same_batch = state["objective"]["key"]
    for t in range(problem.horizon):
        state, step_loss = problem.step(params, state, jnp.array(t), key=jax.random.key(t))
        total += step_loss / problem.horizon
    assert jnp.array_equal(
        jax.random.key_data(state["objective"]["key"]), jax.random.key_data(same_batch)
    )
    end = loss(state["weights"], problem.data.draw_valid(same_batch))
    np.testing.assert_allclose(total, end, rtol=1e-5)


@pytest.mark.slow
def test_accuracy_is_tuned_for_without_a_derivative():
    """Its derivative raises an error, in `accuracy` above; NRES never asks for it."""
    problem = training({"learning_rate": Constant(1e-3)}, ValidAccuracy(), batch_size=20)
    key = jax.random.key(0)
    *_, last = unspool.train(
        problem, unspool.NRES(50, 5, sigma=1.0), optax.adam(0.3), num_updates=40, key=key
    )
    before, after = (
        unspool.evaluate(problem, params, key=key, num_episodes=50)
        for params in (problem.init_params(key=key), last.params)
    )
    assert after.loss < before.loss - 5 * (before.standard_error + after.standard_error)
    with pytest.raises(AssertionError, match="differentiated"):
        next(unspool.train(problem, unspool.TBPTT(2, 5), optax.sgd(0.1), num_updates=1, key=key))


@pytest.mark.parametrize("objective", [slow(ValidLoss()), ValidAccuracy()])
def test_a_run_that_diverges_is_dropped_and_counted_whatever_the_objective(objective):
    """The pairs whose rate is beyond float32; the others' estimate is their mean alone."""

    def cubed(weights, batch):
        return loss(weights, batch) + jnp.sum(weights["matrix"] ** 4)

    model = Model(init, cubed, accuracy)
    problem = ModelTraining(
        model, Data(TRAIN, VALID, 8), optax.sgd, {"learning_rate": Constant(0.5)}, 20, objective
    )
    key, params = jax.random.key(0), problem.init_params(key=jax.random.key(0))
    estimator = unspool.NRES(20, 5, sigma=2.0)
    workers = estimator.init(problem, params, key=key)
    dropped = 0
    for _ in range(4):
        estimate, workers = estimator.estimate(problem, params, workers)
        dropped += int(estimate.stats["dropped"])
        assert jnp.isfinite(estimate.loss) and jnp.isfinite(estimate.grad["learning_rate"])
        if estimate.stats["dropped"]:
            assert estimate.result == unspool.RESULTS.dropped_workers
    assert 0 < dropped < 80
    records = list(
        unspool.train(problem, estimator, optax.adam(0.01), num_updates=8, key=key, log_every=4)
    )
    assert sum(record.dropped for record in records) > 0
    assert np.isfinite(records[-1].params["learning_rate"])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("objective", "estimator"),
    [
        slow(ValidLoss(), unspool.ControlledGPES(4, 2, None, 0.1)),
        (Final(TrainLoss()), unspool.PES(4, 2, 0.1)),
    ],
)
def test_tuning_gradients_are_unbiased(objective, estimator):
    space = {"learning_rate": InverseTime(0.5, 1.0)}
    problem = training(space, objective, horizon=4, batch_size=None)
    key = jax.random.key(0)
    result = unspool.check_unbiased(problem, estimator, key=key, num_chains=200)
    assert result.passed, result
    biased, full = unspool.TruncatedES(4, 2, 0.1), jnp.asarray(result.reference)
    settings = {"key": key, "reference": full, "num_chains": 200}
    assert not unspool.check_unbiased(problem, biased, **settings).passed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "start must be above 0.0 and below inf, got -1.0"),
        (lambda: Constant(1.5, Logit()), "start must be above 0.0 and below 1.0, got 1.5"),
        (lambda: Constant(0.5, Log(1.0, 2.0)), "start must be from 1.0 to 2.0, got 0.5"),
        (lambda: Log(2.0, 1.0), "low must be below high, got low=2.0 and high=1.0"),
        (lambda: Logit(low=-1.0), "low must be above 0.0 and below 1.0, got -1.0"),
        (lambda: Piecewise((0.1,)), r"values must be at least two, got \(0.1,\)"),
        (lambda: InverseTime(0.1, 1.0, timescale=0.0), "timescale must be a finite number above 0"),
        (lambda: PerGroup(Constant(0.1), 0), "count must be an integer of at least 1, got 0"),
        (lambda: Data(TRAIN, batch_size=0), "batch_size must be an integer of at least 1, got 0"),
        (lambda: Data((INPUTS, LABELS[:3])), "train must be arrays whose first axes are the same"),
        (lambda: Data(TRAIN, ()), "valid must be arrays whose first axes are the same"),
        (lambda: training({"learning_rate": 0.1}), r"space\['learning_rate'\] must be a schedule"),
        (lambda: training({}), "space must have a hyperparameter at least"),
        (
            lambda: training(model_space={"learning_rate": Constant(0.1)}),
            r"must differ in names, both have \['learning_rate'\]",
        ),
        (
            lambda: training(model_space={"l2": PerTensor(Constant(0.1))}),
            "PerTensor is about the optimizer",
        ),
        (
            lambda: ModelTraining(
                Model(init, loss),
                Data(TRAIN),
                optax.sgd,
                {"learning_rate": Constant(0.1)},
                5,
                ValidLoss(),
            ),  # fmt: skip
            "the objective ValidLoss needs examples held out",
        ),
        (
            lambda: ModelTraining(
                Model(init, loss),
                Data(TRAIN, VALID),
                optax.sgd,
                {"learning_rate": Constant(0.1)},
                5,
                ValidAccuracy(),
            ),  # fmt: skip
            "needs a model with an accuracy",
        ),
    ],
)
def test_misuse_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_file_that_holds_no_schedules_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="must be a file of tuned hyperparameters"):
        export.load_schedules(tmp_path / "other.json")
