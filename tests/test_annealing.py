"""A sigma that falls with the agreement of episodes."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.cli import FAST, lines, read
from support.cli import somewhere as somewhere
from unspool import extend, problems
from unspool._make_step import begin_anew
from unspool._progress import make_notes
from unspool.cli.__main__ import main

KEY = jax.random.key(0)
CUBIC = problems.Cubic(horizon=12)


class Wave(unspool.AbstractProblem):
    """The same loss in every step, a cosine of its one parameter, and noise on it."""

    horizon: int = 4
    noise: float = 0.0

    def init_params(self, *, key):
        return jnp.array([0.5])

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        ripple = self.noise * jnp.sin(1e4 * params[0] + t)
        return state, -jnp.cos(2 * params[0]) + ripple

    @staticmethod
    def smoothed_gradient(params, sigma):
        return 2 * jnp.exp(-2 * sigma**2) * jnp.sin(2 * params[0])


def after(annealing, learned, grad, noise=0.01, ends=True, windows=4):
    """The knowledge after an update with a gradient of two numbers and noise of such a norm."""
    grad = jnp.asarray(grad, float)
    stats = {"grad_norm": jnp.linalg.norm(grad), "variance": jnp.asarray(noise) ** 2}
    made = extend.MadeUpdate(grad, stats, -grad, grad, windows, jnp.asarray(ends))
    return annealing.after_update(learned, made)


def sigmas_after(annealing, grads, **options):
    """Sigma after each update, every one of which ends a round."""
    learned, found = annealing.init(jnp.zeros(2)), []
    for grad in grads:
        learned = after(annealing, learned, grad, **options)
        found.append(float(annealing.at(annealing.stamp(learned, 0))))
    return found, learned


ALIKE, OPPOSED = [[1.0, 1.0]], [[1.0, 1.0], [-1.0, -1.0]]


def test_sigma_stays_while_rounds_agree_and_falls_down_to_the_floor_when_they_do_not():
    annealing = unspool.Annealing(0.4, floor=0.06, agreement=0.5)
    found, _ = sigmas_after(annealing, 6 * ALIKE)
    np.testing.assert_allclose(found, 0.4)
    # The smoothed cosine, 1 after two rounds, is 0.2 after a third one that is opposed.
    found, learned = sigmas_after(annealing, 2 * ALIKE + 3 * ALIKE + 3 * OPPOSED)
    np.testing.assert_allclose(found[5:], [0.4, 0.2, 0.1, 0.06, 0.06, 0.06][: len(found) - 5])
    assert float(learned.cosine) < 0.5


def test_the_first_two_rounds_are_taken_to_agree():
    annealing = unspool.Annealing(0.4, agreement=0.9, patience=1)
    found, _ = sigmas_after(annealing, 2 * OPPOSED)
    np.testing.assert_allclose(found, [0.4, 0.4, 0.2, 0.1], rtol=1e-6)


def test_a_round_is_judged_by_its_sum_and_by_no_single_update():
    annealing = unspool.Annealing(0.4, patience=1)
    learned = annealing.init(jnp.zeros(2))
    for _ in range(5):
        for number, grad in enumerate(([3.0, 3.0], [-1.0, -1.0], [-1.0, -1.0])):
            learned = after(annealing, learned, grad, ends=number == 2)
    assert int(learned.round) == 5 and float(learned.level) == 1
    np.testing.assert_allclose(learned.cosine, 1, rtol=1e-5)


def test_each_entry_counts_in_units_of_its_own_size():
    """A large entry that changes its sign and nine small ones that do not: most agree."""
    annealing = unspool.Annealing(0.4, patience=1)
    learned = annealing.init(jnp.zeros(10))
    for number in range(8):
        grad = jnp.ones(10).at[0].set(1e4 * (-1) ** number)
        learned = after(annealing, learned, grad)
    np.testing.assert_allclose(learned.cosine, 0.8, atol=0.1)


def test_steps_become_shorter_at_the_floor_alone_and_with_every_update():
    annealing = unspool.Annealing(0.4, floor=0.2, decay=0.9, patience=1)
    learned, paces = annealing.init(jnp.zeros(2)), []
    for grad in 2 * ALIKE + 2 * OPPOSED:
        learned = after(annealing, learned, grad)
        paces.append(float(annealing.pace(learned, 0)))
    np.testing.assert_allclose(paces, [0.4, 0.4, 0.4, 0.2, 0.18, 0.162], rtol=1e-6)
    assert float(annealing.at(learned.level)) == pytest.approx(0.2)


def noise_rounds(annealing, count, signal_until=0, seed=0):
    """The levels over rounds of four updates of nothing but noise, or of a gradient at first."""
    rng, learned, levels = np.random.default_rng(seed), annealing.init(jnp.zeros(2)), []
    update = jax.jit(lambda learned, grad, ends: after(annealing, learned, grad, 1.0, ends))
    for number in range(count):
        for window in range(4):
            grad = rng.normal(size=2) / 2**0.5 + 5 * (number < signal_until)
            learned = update(learned, grad, window == 3)
        levels.append(float(learned.level))
    return np.array(levels), learned


def test_on_a_plateau_sigma_waits_and_does_not_wait_for_ever():
    """Before there has been any signal it falls after so many rounds, and not after each."""
    patient = [noise_rounds(unspool.Annealing(1.0, 1e-9), 24, seed=seed) for seed in range(8)]
    hasty = [noise_rounds(unspool.Annealing(1.0, 1e-9, patience=1), 24, seed=s) for s in range(8)]
    mean_falls = lambda runs: -np.mean([np.log2(levels[-1]) for levels, _ in runs])
    assert not any(bool(learned.has_signal) for _, learned in patient)
    assert 2 <= mean_falls(patient) <= 5
    assert mean_falls(hasty) > 12


def test_once_there_has_been_signal_sigma_falls_without_waiting():
    levels, learned = noise_rounds(unspool.Annealing(1.0, 1e-9), 16, signal_until=6)
    assert bool(learned.has_signal)
    assert np.all(levels[:6] == 1) and -np.log2(levels[-1]) >= 5


@pytest.mark.parametrize("directions", ["gaussian", "lattice"])
def test_the_norm_of_noise_is_that_of_estimates_of_nothing(directions):
    """On a loss that is all ripples; where there is a gradient too, estimates are larger."""
    chosen = {"gaussian": unspool.GaussianDirections(), "lattice": unspool.LatticeDirections()}
    estimator = unspool.NRES(8, 1, unspool.Annealing(0.3), directions=chosen[directions])

    def ratios(problem, params):
        @jax.jit
        @jax.vmap
        def run(key):
            state = estimator.init(problem, params, key=key)
            return estimator.estimate(problem, params, state)[0].stats

        stats = run(jax.random.split(KEY, 4000))
        squares = np.asarray(stats["grad_norm"]) ** 2 / np.mean(stats["variance"])
        return squares.mean(), squares.std() / 4000**0.5

    mean, error = ratios(Wave(horizon=1, noise=5.0), jnp.array([0.0]))
    assert abs(mean - 1) < 4.5 * error + 0.01
    mean, error = ratios(Wave(horizon=1), jnp.array([0.7]))
    assert mean - 3 > 4.5 * error


@pytest.mark.parametrize(
    ("estimator", "first"),
    [
        (unspool.NRES(12, 3, 0.1), 1),
        (unspool.NRES(12, 3, 0.1, phases=unspool.Staggered()), 4),
        (unspool.NRES(12, 3, 0.1, phases=unspool.IndependentPhases()), 1),
        (unspool.ESSingle(12, 3, 0.1), 4),
        (unspool.FullES(12, 0.1), 1),
    ],
    ids=["even", "staggered", "independent", "lock step", "whole episodes"],
)
def test_a_round_ends_where_every_worker_has_begun_as_many_episodes(estimator, first):
    plan = estimator.plan(CUBIC.horizon)
    params = CUBIC.init_params(key=KEY)
    state = estimator.init(CUBIC, params, key=KEY)
    ends = []
    for made in range(1, 10):
        state = estimator.estimate(CUBIC, params, state)[1]
        ids = np.asarray(state[0].each.episode) // 12
        if plan.ends_round(jnp.array(made)):
            ends.append(made)
            assert len(set(ids)) == 1
        else:
            assert len(set(ids)) == 2 or isinstance(estimator, unspool.ESSingle)
    assert ends == list(range(first, 10, plan.num_windows))


class Swinging(extend.AbstractSigma):
    """Wide after a large estimate and narrow after a small one, at the end of a round."""

    at_once: bool = False
    waits_for_rounds: ClassVar[bool] = True

    def init(self, params):
        return jnp.array(0.4)

    def stamp(self, learned, update):
        return learned

    def at(self, stamp):
        return stamp

    def after_update(self, learned, made):
        new = jnp.where(made.grad[0] > Wave.smoothed_gradient(jnp.array([0.5]), learned), 0.8, 0.2)
        return jnp.where(made.ends_round | self.at_once, new, learned)


def score_given_sigma(sigma, directions, num_chains=3000, num_updates=13):
    """The z-score of estimates less the gradient for the sigmas that workers were born with.

    Parameters stay where they are, and sigma moves as it would.
    """
    problem, params = Wave(), jnp.array([0.5])
    estimator = unspool.NRES(4, 1, sigma, directions=directions)
    plan = estimator.plan(problem.horizon)

    def update(state, _):
        estimate, state = estimator.estimate(problem, params, state)
        stamps = state[0].carried.stamp[0]
        expected = jnp.mean(problem.smoothed_gradient(params, stamps))
        made = extend.MadeUpdate(
            grad=estimate.grad,
            stats=estimate.stats,
            updates=jnp.zeros(1),
            params=params,
            num_windows=4,
            ends_round=plan.ends_round(state[0].update),
        )
        return estimator.after_update(state, made), estimate.grad[0] - expected

    def chain(key):
        state = estimator.init(problem, params, key=key)
        return jax.lax.scan(update, state, length=num_updates)[1]

    means = np.asarray(jax.jit(jax.vmap(chain))(jax.random.split(KEY, num_chains))).mean(axis=1)
    return abs(means.mean()) / means.std() * num_chains**0.5


@pytest.mark.parametrize(
    "directions",
    [unspool.GaussianDirections(), unspool.LatticeDirections()],
    ids=["gaussian", "lattice"],
)
def test_estimates_are_unbiased_for_the_sigma_in_force(directions):
    assert score_given_sigma(Swinging(), directions) < 4


def test_a_scale_that_does_not_wait_for_rounds_is_found_to_bias_a_lattice():
    assert score_given_sigma(Swinging(at_once=True), unspool.LatticeDirections()) > 6
    assert score_given_sigma(Swinging(at_once=True), unspool.GaussianDirections()) < 4


def test_directions_that_are_coupled_go_with_annealing_where_that_is_unbiased():
    annealing, lattice = unspool.Annealing(0.2), unspool.LatticeDirections()
    unspool.NRES(4, 3, annealing, directions=lattice)
    unspool.NRES(4, 3, annealing, directions=unspool.OrthogonalDirections(2))
    message = "couples the directions of different episodes, and the scale of the noise"
    with pytest.raises(ValueError, match=message):
        unspool.PES(4, 3, annealing, directions=lattice)
    with pytest.raises(ValueError, match=message):
        unspool.NRES(4, 3, annealing, directions=unspool.OrthogonalDirections(3))
    estimator = unspool.NRES(4, 3, annealing, directions=lattice)
    random = problems.RandomLength()
    with pytest.raises(ValueError, match="random lengths, .* use GaussianDirections"):
        estimator.init(random, random.init_params(key=KEY), key=KEY)


ERRORS = {
    "floor must be at most start, 0.1, got 0.2": lambda: unspool.Annealing(0.1, 0.2),
    "factor must be above 0 and below 1, got 1.0": lambda: unspool.Annealing(0.1, factor=1.0),
    "agreement must be from -1 to 1": lambda: unspool.Annealing(0.1, agreement=2.0),
    "decay must be above 0 and at most 1": lambda: unspool.Annealing(0.1, decay=0.0),
    "patience must be at least 1, got 0": lambda: unspool.Annealing(0.1, patience=0),
    "floor must be of the structure of start": lambda: unspool.Annealing({"a": 0.1}, 0.01),
    "numbers, or trees of them": lambda: unspool.Annealing(lambda update: 0.1),
    "sigma must be greater than 0": lambda: unspool.Annealing(-0.1),
}


@pytest.mark.parametrize("message", ERRORS)
def test_numbers_out_of_range_are_refused(message):
    with pytest.raises(ValueError, match=message):
        ERRORS[message]()


ANNEALED = unspool.NRES(
    6, 3, unspool.Annealing(0.3, agreement=1.0, patience=1), phases=unspool.Staggered()
)
FOLLOWING = optax.chain(optax.adam(0.5), unspool.scale_by_sigma(), unspool.clip_by_drift(3.0))


def test_training_goes_on_to_the_same_bits_and_shows_how_sigma_falls(tmp_path):
    job = CUBIC, ANNEALED, FOLLOWING
    whole = list(unspool.train(*job, num_updates=40, key=KEY, log_every=20))
    first, last = (record.sigma for record in whole)
    assert 0.3 >= first > last >= 0.03 - 1e-6
    note = make_notes()
    assert [note(whole[0]), note(whole[1])] == [
        f"loss {whole[0].loss:.6g}", f"loss {whole[1].loss:.6g}, sigma {last:.3g}"
    ]  # fmt: skip
    (half,) = unspool.train(*job, num_updates=20, key=KEY, log_every=20)
    unspool.save_checkpoint(tmp_path / "half.npz", half.state)
    state = unspool.load_checkpoint(tmp_path / "half.npz", half.state)
    (rest,) = unspool.train(*job, num_updates=40, key=KEY, log_every=20, state=state)
    assert jax.tree.map(np.array_equal, rest.params, whole[-1].params) == {
        "level": True, "slope": True,
    }  # fmt: skip
    assert rest.sigma == whole[-1].sigma


def test_episodes_that_begin_anew_keep_what_is_learned():
    """As those of simulators do that are gone when a run goes on."""
    (record,) = unspool.train(CUBIC, ANNEALED, FOLLOWING, num_updates=20, key=KEY, log_every=20)
    anew = begin_anew(CUBIC, ANNEALED, record.state, key=KEY)
    assert anew.workers[0].learned.sigma.level == record.state.workers[0].learned.sigma.level < 1


def test_other_numbers_are_the_same_program():
    from unspool import _programs

    def run(sigma):
        estimator = unspool.NRES(6, 3, sigma)
        return list(unspool.train(CUBIC, estimator, FOLLOWING, num_updates=2, key=KEY))

    run(unspool.Annealing(0.3, 0.02))
    known = set(_programs._COMPILED)
    run(unspool.Annealing(0.2, 0.01, factor=0.7, agreement=0.5, decay=0.9, patience=2))
    assert set(_programs._COMPILED) == known


@pytest.mark.slow
def test_chunks_and_several_problems_learn_the_same_sigma():
    annealing = unspool.Annealing(0.3, agreement=1.0, patience=1)
    whole, levels = unspool.NRES(6, 3, annealing, phases=unspool.Staggered()), []
    for problem, estimator in (
        (CUBIC, whole),
        (unspool.JointProblem([CUBIC, CUBIC]), unspool.Chunked(whole, 4)),
    ):
        init, step = unspool.make_step(problem, estimator, FOLLOWING)
        state = init(CUBIC.init_params(key=KEY), key=KEY)
        step = jax.jit(step)
        for _ in range(13):
            state, _ = step(state)
        levels += [float(part.learned.sigma.level) for part in state.workers]
    assert levels == [0.5, 0.5, 0.5]


def test_the_command_line_anneals_and_goes_on(somewhere, capsys):
    typed = ["train", "cubic", "nres", *FAST, "--sigma", "0.3", "--anneal.floor", "0.1"]
    assert main([*typed, "--directory", "runs/a", "--anneal.drift", "1.5"]) == 0
    settings = read("runs/a/config.json")["settings"]
    assert settings["anneal"] == {
        "floor": 0.1, "factor": 0.5, "agreement": 0.6, "decay": 0.98, "patience": 5, "drift": 1.5,
    }  # fmt: skip
    described = read("runs/a/config.json")["estimator"]["options"]["sigma"]
    assert described["name"] == "Annealing" and described["options"]["start"] == 0.3
    assert [line.get("sigma") for line in lines("runs/a/metrics.jsonl")][-1] == pytest.approx(0.3)
    assert main(["train", "--resume", "runs/a", "--num-updates", "6"]) == 0
    config = unspool.TrainConfig.read("runs/a/config.json")
    assert config.anneal == unspool.AnnealConfig(floor=0.1, drift=1.5)
    unspool.TrainConfig.write(config, "a.toml")
    assert unspool.TrainConfig.read("a.toml").anneal == config.anneal
    assert main([*typed[:3], *FAST, "--config", "runs/a/config.json", "--no-anneal"]) == 0
    assert main(["train", "cubic", "bptt", *FAST, "--anneal"]) == 2
    assert "BPTT has no sigma that could fall" in capsys.readouterr().err
