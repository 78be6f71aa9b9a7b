"""Where JAX is told to promote no types by itself, all that the library does works as before."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow

KEY = jax.random.key(0)
ESTIMATORS = {
    "FullES": unspool.FullES(4, 0.1),
    "TruncatedES": unspool.TruncatedES(4, 2, 0.1),
    "PES": unspool.PES(4, 2, {"a": 0.05, "b": 0.1}),
    "GPES": unspool.GPES(4, 2, 1, 0.1),
    "NRES": unspool.NRES(4, 2, lambda update: 0.1 * 0.9 ** update.astype(jnp.float32)),
    "ControlledNRES": unspool.ControlledNRES(4, 2, 0.1),
    "ReweightedNRES": unspool.ReweightedNRES(4, 2, {"a": 0.05, "b": 0.1}),
    "ESSingle": unspool.ESSingle(4, 2, 0.1),
    "PESAnalytic": unspool.PESAnalytic(4, 2, 0.1),
    "ControlledGPES": unspool.ControlledGPES(4, 2, 2, 0.1),
    "DODGE": unspool.DODGE(4, 2, 1),
    "ForwardGradient": unspool.ForwardGradient(4, 2),
    "BPTT": unspool.BPTT(2),
    "ARTBP": unspool.ARTBP(2, 0.1),
    "TBPTT": unspool.TBPTT(2, 2),
    "RTRL": unspool.RTRL(2, 2),
    "UORO": unspool.UORO(2, 2),
    "LowRankUORO": unspool.LowRankUORO(2, 2),
    "KFRTRL": unspool.KFRTRL(2, 2),
    "OK": unspool.OK(2, 2, 2),
    "SnAp1": unspool.SnAp1(2, 2),
    "Chunked": unspool.Chunked(unspool.PES(4, 2, 0.1), 3),
}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"):
        with pytest.raises(jax.dtypes.TypePromotionError):
            jnp.ones(2, jnp.bfloat16) * jnp.ones(2)
        yield


class Drift(unspool.AbstractProblem):
    """States and parameters of several types, and episodes that end early or were short anyway."""

    kinds: tuple[str, str] = eqx.field(static=True)
    horizon: int = 4

    def init_params(self, *, key):
        return {"a": jnp.full(2, 0.5, self.kinds[0]), "b": jnp.full(3, 0.25, self.kinds[1])}

    def init_state(self, params, *, key):
        start = jax.random.normal(key, (3,))
        return {"x": start, "hidden": params["a"] * 2, "count": jnp.array(0)}

    def step(self, params, state, t, *, key):
        hidden = state["hidden"] * params["a"]
        push = jnp.sum(hidden).astype(jnp.float32)
        x = state["x"] * params["b"].astype(jnp.float32) + push
        after = {"x": x, "hidden": hidden, "count": state["count"] + 1}
        return after, jnp.sum(x**2).astype(self.kinds[1])

    @property
    def episodes(self):
        return unspool.Episodes(
            is_done=lambda state: state["x"][0] > 3.0,
            draw_length=lambda *, key: jax.random.randint(key, (), 2, 5),
            weight=lambda length: 1 / length.astype(jnp.float32),
        )


def test_no_estimator_is_left_out():
    exported = {
        name
        for name, value in vars(unspool).items()
        if isinstance(value, type) and issubclass(value, unspool.AbstractEstimator)
    }
    # Units of `Drift` read one another, which `ElementwiseRTRL` refuses.
    assert exported - {"AbstractEstimator", "ElementwiseRTRL"} == set(ESTIMATORS)


QUICK = {"Chunked", "ControlledNRES", "PES", "ReweightedNRES", "RTRL", "TBPTT", "UORO"}


@pytest.mark.parametrize("name", [slow(name, when=name not in QUICK) for name in ESTIMATORS])
def test_every_estimator_keeps_the_types_of_the_parameters(name):
    estimator = ESTIMATORS[name]
    narrow = [("bfloat16", "bfloat16")] if name in ("PES", "RTRL") else []
    for kinds in [("bfloat16", "float32"), *narrow]:
        problem = Drift(kinds)
        params = problem.init_params(key=KEY)

        def grad(params, problem=problem):
            state = estimator.init(problem, params, key=KEY)
            return estimator.estimate(problem, params, state)[0].grad

        found = jax.eval_shape(grad, params)
        assert (found["a"].dtype, found["b"].dtype) == kinds


@pytest.mark.slow
def test_all_that_is_computed_is_what_it_is_without():
    problem = Drift(("bfloat16", "float32"))

    job = problem, unspool.FullES(4, 0.1), optax.sgd(0.1)
    (record,) = unspool.train(*job, num_updates=1, key=KEY)
    evaluate = lambda: unspool.evaluate(problem, record.params, key=KEY, num_episodes=3)
    strictly = evaluate()
    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_array_equal(strictly, evaluate())
    test = unspool.check_unbiased(problem, job[1], key=KEY, num_chains=30, level=1e-6)
    assert test.passed and np.all(np.isfinite(test.z))
