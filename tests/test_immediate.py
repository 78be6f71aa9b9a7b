"""Steps tell how their parameters enter: layers, Jacobians and patterns found in their programs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support.cells import ELEMENTWISE, PRODUCTS, Cell, CellProblem
from support.slow import slow
from unspool import _rows as rows
from unspool._immediate import (
    ImmediateJacobian,
    Telling,
    TellingState,
    UnitJacobian,
    gather_gradient,
)
from unspool._immediate.compressed import color_columns, directions_of
from unspool._immediate.dependence import find_dependence
from unspool._immediate.program import trace

pytestmark = pytest.mark.usefixtures("float64")

EXACT = 1e-13
KEY = jax.random.key(0)


def trained(tree):
    return eqx.filter(tree, eqx.is_inexact_array)


def flat_step(problem):
    """The flat next state as a function of the parameters and the flat state."""
    _, unravel = rows.ravel(problem.init_state(problem.init_params(key=KEY), key=KEY))
    step = lambda params, flat: problem.step(params, unravel(flat), 2, key=KEY)[0]
    return (lambda params, flat: rows.ravel(step(params, flat))[0]), unravel


def tell(problem, params, reader):
    """A flat state, and what a step from there tells."""
    flat, unravel = rows.ravel(problem.init_state(params, key=KEY))
    flat = 0.5 * jax.random.normal(KEY, flat.shape)
    step = lambda params, flat: Telling(problem, reader).step(
        params, TellingState(unravel(flat), None), jnp.array(2), key=KEY
    )
    after, _ = eqx.filter_jit(step)(params, flat)
    return flat, after.told


def largest(tree):
    return max(float(jnp.max(jnp.abs(leaf), initial=0)) for leaf in jax.tree.leaves(tree))


def derivatives_told(told, params, size):
    """A tree like the parameters for each number of the state."""
    blocks = lambda i: [
        jnp.outer(jacobian[:, i], inputs)
        for inputs, jacobian in zip(told.inputs, told.facts, strict=True)
    ]
    return [gather_gradient(told.layers, blocks(i), trained(params)) for i in range(size)]


# Of each kind of product one.
TELLING = {"plain", "transposed", "first GRU", "row", "eqx.nn.LSTMCell"}


@pytest.mark.parametrize(
    "name", [slow(name, when=name not in TELLING) for name in PRODUCTS | ELEMENTWISE]
)
def test_layers_make_up_the_immediate_jacobian(name):
    problem = CellProblem((PRODUCTS | ELEMENTWISE)[name])
    params = problem.init_params(key=KEY)
    flat, told = tell(problem, params, ImmediateJacobian())
    exact = eqx.filter_jit(eqx.filter_jacrev(flat_step(problem)[0]))(params, flat)
    for i, found in enumerate(derivatives_told(told, params, flat.size)):
        right = jax.tree.map(lambda x, i=i: x[i], trained(exact))
        assert largest(jax.tree.map(jnp.subtract, found, right)) < EXACT
        # What is told is not all zero, and not what another number of the state is told.
        other = jax.tree.map(lambda x, i=i: x[i - 1], trained(exact))
        assert largest(jax.tree.map(jnp.subtract, found, other)) > 1e-3


def test_weights_of_inputs_and_states_and_a_bias_are_one_layer():
    for name, sizes in {
        "plain": [1, 2, 3],
        "eqx.nn.LSTMCell": [1, 2, 3],
        "one matrix": [6],
    }.items():
        problem = CellProblem(PRODUCTS[name])
        _, told = tell(problem, problem.init_params(key=KEY), ImmediateJacobian())
        assert [sorted(layer.sizes) for layer in told.layers] == [sizes], name


def test_a_start_that_the_parameters_make_has_layers_of_its_own():
    problem = CellProblem(PRODUCTS["learned start"])
    params = problem.init_params(key=KEY)
    told = Telling(problem, ImmediateJacobian()).init_state(params, key=KEY).told
    assert [len(layer.leaves) for layer in told.layers] == [2, 3]
    exact = jax.jacrev(lambda params: problem.init_state(params, key=KEY))(params)
    for i, found in enumerate(derivatives_told(told, params, 3)):
        right = jax.tree.map(lambda x, i=i: x[i], exact)
        assert largest(jax.tree.map(jnp.subtract, found, right)) < EXACT
    assert largest(told.facts[0]) > 0.001 and largest(told.facts[1]) == 0


def test_a_matrix_that_is_no_factor_of_a_product_is_named():
    advance = lambda params, shown, state: jnp.tanh(params["w"] ** 2 @ state)
    problem = CellProblem(Cell(advance, {"w": (3, 3)}))
    with pytest.raises(ValueError, match=r"params\['w'\] must enter a step as a product"):
        Telling(problem, ImmediateJacobian()).init_state(problem.init_params(key=KEY), key=KEY)


def test_a_readout_that_the_state_does_not_depend_on_may_be_anything():
    class WithReadout(CellProblem):
        def init_params(self, *, key):
            return super().init_params(key=key) | {"out": jnp.ones((2, 3))}

        def step(self, params, state, t, *, key):
            state, loss = super().step(params, state, t, key=key)
            return state, loss + jnp.sum(params["out"] ** 2 @ state)

    problem = WithReadout(PRODUCTS["plain"])
    _, told = tell(problem, problem.init_params(key=KEY), ImmediateJacobian())
    assert len(told.layers) == 1


def mixes(x):
    """Entries that go elsewhere, that are added up, and that a loop mixes."""
    looped, _ = jax.lax.scan(lambda c, y: (c + y, None), jnp.zeros(()), x[:2])
    picked = jnp.where(x > 0, x, x[::-1])
    tiled = jnp.tile(x[:2], 2).reshape(2, 2)
    heads = jnp.einsum("hij,hj->hi", jnp.ones((2, 2, 2)), x.reshape(2, 2))
    return picked, jnp.cumsum(x), jnp.sort(x[1:]), looped, tiled, heads, jax.nn.relu(x) * 2


RIGHT = (
    [(0, 3), (1, 2), (1, 2), (0, 3)],
    [(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)],
    [(1, 2, 3)] * 3,
    [(0, 1)],
    [(0,), (1,), (0,), (1,)],
    [(0, 1), (0, 1), (2, 3), (2, 3)],
    [(0,), (1,), (2,), (3,)],
)


def test_what_depends_on_what():
    program = trace(mixes, jnp.ones(4))
    patterns = find_dependence(program, program.jaxpr.invars)
    for pattern, right in zip(patterns, RIGHT, strict=True):
        found = [tuple(np.flatnonzero(row)) for row in pattern.reshape(-1, 4)]
        assert found == right


@pytest.mark.parametrize("seed", range(3))
def test_colors_tell_all_wanted_entries_apart(seed):
    random = np.random.default_rng(seed)
    pattern = random.random((7, 9)) < 0.4
    wanted = pattern & (random.random((7, 9)) < 0.6)
    matrix = np.where(pattern, random.normal(size=(7, 9)), 0)
    colors = color_columns(wanted, pattern)
    products = directions_of(colors) @ matrix.T
    rows, columns = np.nonzero(wanted)
    assert np.array_equal(products[colors[columns], rows], matrix[rows, columns])
    assert max(colors) < 8


def test_a_diagonal_takes_one_direction_and_a_full_matrix_all():
    whole = np.ones((5, 5), bool)
    assert set(color_columns(np.eye(5) > 0, np.eye(5) > 0)) == {0}
    assert len(set(color_columns(np.eye(5) > 0, whole))) == 5


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", ["plain", slow("eqx.nn.GRUCell"), *ELEMENTWISE])
def test_units_tell_the_entries_of_the_jacobian_that_they_move(name, exact):
    problem = CellProblem((PRODUCTS | ELEMENTWISE)[name])
    params = problem.init_params(key=KEY)
    if exact and name in PRODUCTS:
        with pytest.raises(ValueError, match="in state an entry depends on other entries"):
            tell(problem, params, UnitJacobian(exact))
        return
    flat, told = tell(problem, params, UnitJacobian(exact))
    transition = np.asarray(jax.jacrev(flat_step(problem)[0], argnums=1)(params, flat))
    _, immediate = tell(problem, params, ImmediateJacobian())
    transition = np.pad(transition, ((0, 1), (0, 1)))
    for facts, jacobian in zip(told.facts, immediate.facts, strict=True):
        newest = np.pad(np.asarray(jacobian), ((0, 0), (0, 1)))
        for row, moved in enumerate(facts.moved):
            assert np.allclose(facts.newest[row], newest[row, list(moved)], atol=EXACT)
            block = transition[np.ix_(moved, moved)]
            assert np.allclose(facts.carried[row], block, atol=EXACT)
            # Nothing that is moved at once is left out.
            assert set(np.flatnonzero(newest[row])) <= set(moved)
