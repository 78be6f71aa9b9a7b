"""Real defects of published code, planted in throw-away copies: does the suite reject each?"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unspool

SOURCE = Path(unspool.__file__).parent

# What every script starts with; it says "accepted" or "rejected" at its end.
PREAMBLE = """
import jax
import unspool
from unspool import problems
def decide(problem, estimator, target=None):
    key = jax.random.key(0)
    params = problem.init_params(key=key)
    target = estimator.target(problem.horizon) if target is None else target
    reference = problem.exact_gradient(params, target)
    result = unspool.check_unbiased(
        problem, estimator, key=key, params=params, reference=reference, num_chains=600
    )
    print(result)
    print("accepted" if result.passed else "rejected")
"""

PAIRING = """
problem = problems.LinearQuadratic(noise=1.0)
params = problem.init_params(key=jax.random.key(0))
estimator = unspool.NRES(4, 3, sigma=1e-200)
state = estimator.init(problem, params, key=jax.random.key(1))
estimate, _ = estimator.estimate(problem, params, state)
print("accepted" if float(estimate.stats["slope_std"]) == 0 else "rejected")
"""

KERNEL = "_estimator/perturbed.py"
DEFECTS = {
    "the last step's loss is credited to the newest noise alone": (
        KERNEL,
        "sums = jax.tree.map(jnp.add, sums, (losses, slope, rows.scale(slope, score)))",
        """newest = draw(trajectories.t, drawn_at)[1]
            score = rows.where(arms[0].ended, newest, score)
            sums = jax.tree.map(jnp.add, sums, (losses, slope, rows.scale(slope, score)))""",
        "decide(problems.FinalLoss(horizon=6), unspool.PES(4, 1, 0.1))",
    ),
    "the episode counter is never reset": (
        KERNEL,
        "credit = rows.where(newborn, rows.zeros_like(credit), credit)",
        """late = workers.update >= self.num_windows(T)
            credit = rows.where(newborn | late, rows.zeros_like(credit), credit)""",
        "decide(problems.LinearQuadratic(), unspool.PES(4, 3, 0.1))",
    ),
    "the noise is not kept": (
        KERNEL,
        "birth, t // K)",
        "birth, t)",
        "decide(problems.LinearQuadratic(), unspool.GPES(4, 3, 6, 0.1))",
    ),
    "the noise of the next episode is used before it begins": (
        "_estimator/directions.py",
        "return Kept(rows.where(newborn, ahead, self.now), ahead, used | newborn)",
        "return Kept(ahead, ahead, used | newborn)",
        "decide(problems.LinearQuadratic(), unspool.NRES(4, 3, 0.1))",
    ),
    "stored noise is divided by the current sigma squared": (
        KERNEL,
        "return *scale_noise(tableau.sigma, params, drawn_at, noise), drawn_at",
        """perturbation, _ = scale_noise(tableau.sigma, params, drawn_at, noise)
            now = jnp.full_like(drawn_at, workers.update)
            _, score = scale_noise(tableau.sigma, params, now, noise)
            ratio = jax.vmap(lambda n, d: tableau.sigma(d) / tableau.sigma(n))(now, drawn_at)
            return perturbation, rows.scale(ratio, score), drawn_at""",
        "decide(problems.LinearQuadratic(), unspool.NRES(4, 3, lambda u: 0.5 * 0.9**u),"
        " unspool.Target())",
    ),
    "only the positive arm's end is respected": (
        "_engine/base.py",
        "return jnp.all(self.over, axis=0)",
        "return self.over[0]",
        "decide(problems.EarlyEnd(), unspool.NRES(4, 3, 0.1))",
    ),
    "the first window misses the gradient through the start state": (
        KERNEL,
        "trajectories, tangent = probe.start(engine, params, keys, perturbation)",
        """still = rows.zeros_like(perturbation)
            trajectories, tangent = probe.start(engine, params, keys, still)""",
        "decide(problems.LearnedStart(), unspool.NRES(4, 3, 0.1))",
    ),
    "the arms have different keys": (
        "_engine/local.py",
        "run = jax.vmap(workers, in_axes=(0, 0, 0, None, None, None))",
        """own = lambda arm, key: jax.vmap(lambda k: jax.random.fold_in(k, arm))(key)
        each_arm = lambda *xs: workers(*xs[:5], own(xs[6], xs[5]))
        per_arm = jax.vmap(each_arm, in_axes=(0, 0, 0, None, None, None, 0))
        run = lambda *xs: per_arm(*xs, jnp.arange(xs[2].shape[0]))""",
        PAIRING,
    ),
}


def decide(script, package):
    """What a script says of the `unspool` that lies in the folder `package`."""
    command = [sys.executable, "-c", PREAMBLE + script]
    environment = dict(os.environ, PYTHONPATH=str(package), JAX_ENABLE_X64="1")
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()[-1]


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_library_itself_is_accepted(defect, capsys, float64):
    *_, script = DEFECTS[defect]
    exec(PREAMBLE + script, {})
    assert capsys.readouterr().out.split()[-1] == "accepted"


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_copy_with_a_real_defect_is_rejected(defect, tmp_path):
    file, sound, planted, script = DEFECTS[defect]
    shutil.copytree(SOURCE, tmp_path / "unspool")
    source = (tmp_path / "unspool" / file).read_text()
    assert source.count(sound) == 1
    (tmp_path / "unspool" / file).write_text(source.replace(sound, planted))
    assert decide(script, tmp_path) == "rejected"
