"""Recurrent nets that copy symbols, add numbers, read a text, and follow another one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import problems
from unspool.problems._recurrent import TanhCell

KEY = jax.random.key(3)
CELLS = "tanh", "gru", "lstm"


def losses(problem, params, key=KEY):
    def body(state, t):
        return problem.step(params, state, t, key=jax.random.fold_in(key, t))

    start = problem.init_state(params, key=key)
    return start, np.asarray(jax.lax.scan(body, start, jnp.arange(problem.horizon))[1])


def test_the_plain_cell_is_a_tanh_of_its_inputs():
    cell = TanhCell(2, 3, key=KEY)
    x, h = np.array([0.3, -1.0]), np.array([0.1, 0.2, -0.5])
    expected = np.tanh(cell.weight_ih @ x + cell.weight_hh @ h + cell.bias)
    np.testing.assert_allclose(cell(jnp.asarray(x), jnp.asarray(h)), expected, rtol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_only_what_is_asked_has_a_loss_and_knowing_nothing_costs_a_logarithm(cell):
    problem = problems.CopyTask(lag=3, num_copied=2, num_symbols=5, cell=cell)
    params = problem.init_params(key=KEY)
    mute = eqx.tree_at(lambda net: net.readout, params, replace_fn=lambda x: _zeros(x))
    _, found = losses(problem, mute)
    assert problem.horizon == 7
    np.testing.assert_allclose(found, [0] * 5 + [np.log(5) * 7 / 2] * 2, rtol=1e-6)
    assert np.mean(found) == pytest.approx(np.log(5))


def _zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def test_the_net_sees_symbols_then_nothing_then_that_it_is_asked():
    """A cell that remembers its last input alone, and reads it out."""
    problem = problems.CopyTask(lag=1, num_copied=2, num_hidden=3)
    seen = problem.init_params(key=KEY)
    cell = TanhCell(3, 3, key=KEY)
    echo = eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias),
        cell,
        (jnp.eye(3), jnp.zeros((3, 3)), jnp.zeros(3)),
    )
    net = eqx.tree_at(lambda n: n.cell, seen, echo)
    state = problem.init_state(net, key=KEY)
    inputs = []
    for t in range(problem.horizon):
        state, _ = problem.step(net, state, jnp.array(t), key=KEY)
        inputs.append(np.arctanh(np.minimum(state["memory"], np.tanh(1.0))))
    codes = np.eye(2)[np.asarray(state["symbols"])]
    expected = [*np.c_[codes, [0, 0]], [0, 0, 0], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(inputs, expected, atol=1e-5)


def test_the_loss_is_that_of_the_symbol_in_its_turn():
    """Readouts that always say the first symbol are right where it was shown."""
    problem = problems.CopyTask(lag=0, num_copied=4)
    params = problem.init_params(key=KEY)
    bias = jnp.array([50.0, 0.0])
    params = eqx.tree_at(
        lambda n: (n.readout.weight, n.readout.bias), params, (jnp.zeros((2, 8)), bias)
    )
    start, found = losses(problem, params)
    np.testing.assert_allclose(found[4:], np.asarray(start["symbols"]) * 50.0 * 8 / 4, atol=1e-4)
    assert len(set(found[4:].tolist())) == 2


@pytest.mark.parametrize("cell", [slow(cell, when=cell == "gru") for cell in CELLS])
def test_the_teacher_follows_itself_and_a_student_does_not(cell):
    problem = problems.RecurrentTeacher(horizon=20, cell=cell)
    _, found = losses(problem, problem.teacher)
    np.testing.assert_array_equal(found, 0)
    _, found = losses(problem, problem.init_params(key=KEY))
    assert np.min(found) >= 0 and np.mean(found) > 1e-4


@pytest.mark.parametrize(("cell", "horizon"), [("tanh", 2), ("gru", 7), ("lstm", 7)])
def test_the_sum_of_two_marked_numbers_is_asked_for_at_the_end(cell, horizon):
    """Of a net that says nothing but its bias."""
    problem = problems.AddingTask(horizon=horizon, cell=cell, num_hidden=3)
    net = problem.init_params(key=KEY)
    net = eqx.tree_at(lambda n: n.readout, net, replace_fn=_zeros)
    net = eqx.tree_at(lambda n: n.readout.bias, net, jnp.ones(1))
    keys = jax.random.split(KEY, 100)
    marked, found = jax.vmap(lambda key: _marked_and_losses(problem, net, key))(keys)
    number = jax.vmap(lambda key, t: jax.random.uniform(jax.random.fold_in(key, t)))
    first, second = np.asarray(marked).T
    assert np.all((first >= 0) & (first < horizon // 2) & (second >= horizon // 2))
    assert np.all(second < horizon) and not np.any(found[:, :-1])
    expected = (1 - number(keys, first) - number(keys, second)) ** 2
    np.testing.assert_allclose(np.mean(found, axis=1), expected, rtol=1e-4, atol=1e-6)
    assert len({*zip(first, second, strict=True)}) == (1 if horizon == 2 else 12)


def _marked_and_losses(problem, net, key):
    def body(state, t):
        return problem.step(net, state, t, key=jax.random.fold_in(key, t))

    start = problem.init_state(net, key=key)
    return start["marked"], jax.lax.scan(body, start, jnp.arange(problem.horizon))[1]


def test_a_net_that_adds_is_shown_numbers_and_marks():
    """A cell without memory, in its linear range, and a sum of what is shown while marked."""
    problem = problems.AddingTask(horizon=5, num_hidden=2)
    small = 1e-3
    net = problem.init_params(key=KEY)
    cell = eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias),
        net.cell,
        (small * jnp.eye(2), jnp.zeros((2, 2)), jnp.zeros(2)),
    )
    net, state = eqx.tree_at(lambda n: n.cell, net, cell), problem.init_state(net, key=KEY)
    total = 0.0
    for t in range(5):
        state, _ = problem.step(net, state, jnp.array(t), key=jax.random.fold_in(KEY, t))
        number, mark = np.asarray(state["memory"]) / small
        assert mark == pytest.approx(float(t in np.asarray(state["marked"])), abs=1e-5)
        total += number * round(mark)
    assert total == pytest.approx(float(state["sum"]), rel=1e-4)


TURNS = "abc" * 20


def write(tmp_path, text):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("cell", CELLS)
def test_a_net_that_knows_nothing_of_a_text_pays_a_logarithm(cell, tmp_path):
    problem = problems.CharacterNet(write(tmp_path, "äbc" * 20), 30, cell, num_hidden=3)
    net = eqx.tree_at(lambda n: n.readout, problem.init_params(key=KEY), replace_fn=_zeros)
    _, found = losses(problem, net)
    np.testing.assert_allclose(found, np.full(30, np.log(3)), rtol=1e-6)


def test_a_net_that_knows_a_text_pays_nothing(tmp_path):
    """Which character follows is told by the newest one; in another order it is not."""
    problem = problems.CharacterNet(write(tmp_path, TURNS), 30, "tanh", num_hidden=3)
    net = problem.init_params(key=KEY)
    follows = jnp.roll(jnp.eye(3), 1, axis=0)
    values = 9 * jnp.eye(3), jnp.zeros((3, 3)), jnp.zeros(3), 30 * follows, jnp.zeros(3)
    places = lambda n: (
        *(n.cell.weight_ih, n.cell.weight_hh, n.cell.bias),
        *(n.readout.weight, n.readout.bias),
    )
    net = eqx.tree_at(places, net, values)
    for seed in range(4):
        start, found = losses(problem, net, jax.random.key(seed))
        assert 0 <= start["start"] < 30 and np.max(found) < 1e-6
    other = problems.CharacterNet(write(tmp_path, TURNS[::-1]), 30, "tanh", num_hidden=3)
    assert np.min(losses(other, net)[1]) > 10


def test_episodes_begin_anywhere_in_a_text():
    problem = problems.CharacterNet(horizon=990)
    net = problem.init_params(key=KEY)
    begin = jax.jit(lambda key: problem.init_state(net, key=key)["start"])
    assert {int(begin(jax.random.key(seed))) for seed in range(200)} == set(range(11))


def test_a_random_net_has_weights_of_the_scale_asked_for():
    plain, scaled = (problems.RandomNet(num_hidden=40, gain=gain) for gain in (1.0, 3.0))
    first, second = (problem.init_params(key=KEY) for problem in (plain, scaled))
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(first)])
    assert weights.size == 40 * 44
    assert np.std(weights) == pytest.approx(40**-0.5, rel=4 / np.sqrt(2 * weights.size))
    np.testing.assert_allclose(second.weight_hh, 3 * first.weight_hh, rtol=1e-6)
    other = problems.RandomNet(num_hidden=40, seed=1)
    assert not np.allclose(losses(other, first)[1], losses(plain, first)[1])


def test_a_teacher_has_weights_of_its_seed_times_a_gain():
    plain = problems.RecurrentTeacher(gain=1.0).teacher
    scaled = problems.RecurrentTeacher(gain=3.0).teacher
    np.testing.assert_allclose(scaled.cell.weight_hh, 3 * plain.cell.weight_hh, rtol=1e-6)
    other = problems.RecurrentTeacher(gain=1.0, seed=1).teacher
    assert not np.allclose(other.cell.weight_hh, plain.cell.weight_hh)


@pytest.mark.slow
def test_estimates_of_a_student_have_the_mean_of_its_derivative():
    problem = problems.RecurrentTeacher(horizon=12)
    params = problem.init_params(key=KEY)
    options = {"key": KEY, "params": params, "num_chains": 200}
    assert unspool.check_unbiased(problem, unspool.RTRL(4, 3), **options).passed
    short = jax.tree.map(lambda x: 0.5 * x, params)
    wrong = unspool.check_unbiased(problem, unspool.RTRL(4, 3), reference=short, **options)
    assert not wrong.passed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problems.CopyTask(lag=-1), "lag must be .* at least 0, got -1"),
        (lambda: problems.CopyTask(num_symbols=1), "num_symbols must be .* at least 2, got 1"),
        (lambda: problems.AddingTask(horizon=1), "horizon must be .* at least 2, got 1"),
        (lambda: problems.AddingTask(cell="rnn"), "cell must be one of gru, independent"),
        (
            lambda: problems.CharacterNet(horizon=1001),
            "horizon must be less than .* 1001, got 1001",
        ),
        (lambda: problems.CharacterNet(cell="rnn"), "cell must be one of gru, independent"),
        (lambda: problems.RandomNet(gain=-1.0), "gain must be a finite number above 0"),
        (
            lambda: problems.CopyTask(cell="rnn"),
            "cell must be one of gru, independent, lstm, tanh, got 'rnn'",
        ),
        (lambda: problems.RecurrentTeacher(gain=0.0), "gain must be a finite number above 0"),
        (
            lambda: problems.RecurrentTeacher(cell="x"),
            "cell must be one of gru, independent, lstm, tanh",
        ),
    ],
)
def test_what_no_net_can_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
