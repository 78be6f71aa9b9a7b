"""Trainings that end by their evaluations, and the best parameters, which are kept."""

from pathlib import Path

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

import unspool
from support.cli import lines, one_line, read
from unspool import ConfigError, Run, RunError, Spec, TrainConfig, export
from unspool._config.early_stop import why_to_stop
from unspool.cli.__main__ import main
from unspool.experiments.own.plan import LIMITS, Planned
from unspool.experiments.own.standing import find_standing
from unspool.records import EvaluationLine

# The parameter goes down by 1 at each update; the loss falls until it is 4, and rises again.
MINE = """
import jax.numpy as jnp
import optax
import unspool


class Valley(unspool.AbstractProblem):
    horizon: int = 2

    def init_params(self, *, key):
        return {"place": jnp.array(8.0), "name": "valley"}

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, jnp.abs(params["place"] - 4.0) + 0.0 * params["place"]


def march():
    init = lambda params: ()
    update = lambda grads, state, params=None: ({"place": jnp.array(-1.0), "name": None}, state)
    return optax.GradientTransformation(init, update)


ready = march()
"""


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)


def settings(**changes) -> TrainConfig:
    """The settings of a training that would take twenty updates: losses 4, 3, 2, 1, 0, 1, ..."""
    fast = {"num_updates": 20, "checkpoint_every": 7, "num_episodes": 2, "evaluate_every": 1}
    return TrainConfig(
        problem=Spec("mine.py:Valley"), estimator=Spec("bptt"), optimizer=Spec("mine.py:ready"),
        **fast | changes,
    )  # fmt: skip


def train(directory: str, **changes) -> list[int]:
    return [record.update for record in unspool.train_run(settings(**changes), directory)]


def resume(directory: str, **changes) -> list[int]:
    return [record.update for record in unspool.resume_run(directory, **changes)]


def best_params(run: Run) -> float:
    like = {"place": jnp.array(0.0), "name": "another"}
    found = run.load_best(like)
    assert found["name"] == "another"
    return float(found["place"])


def test_a_training_stops_when_evaluations_get_no_better_and_keeps_the_best():
    assert train("a", patience=3)[-1] == 7
    run = Run.open("a")
    status = run.read_status()
    assert status.state == "finished"
    assert "no lower loss than that at update 4, 0, in 3 evaluations up to update 7" in (
        status.message
    )
    assert run.checkpoints == [0, 7]
    assert [line.loss for line in run.read_evaluations()] == [4, 3, 2, 1, 0, 1, 2, 3]
    assert (run.best.update, run.best.loss, best_params(run)) == (4, 0.0, 4.0)
    assert [file.name for file in Path("a/best").iterdir()] == ["4.npz"]
    with pytest.raises(ConfigError, match="ask for more than 3 with --patience"):
        resume("a")
    assert resume("a", patience=5) == [8, 9]
    assert resume("a", num_updates=12, patience=100) == [10, 11, 12]
    assert Run.open("a").read_status().message == ""
    # What it has gone on to is what it would have been.
    assert train("b", num_updates=12)[-1] == 12
    assert lines("a/metrics.jsonl") == lines("b/metrics.jsonl")
    assert lines("a/evaluation.jsonl") == lines("b/evaluation.jsonl")


def test_a_training_stops_at_a_loss_that_is_low_enough():
    assert train("a", target_loss=1.5, evaluate_every=2)[-1] == 4
    status = Run.open("a").read_status()
    assert "come to an evaluated loss of 0 at update 4, which is not above 1.5" in status.message
    assert resume("a", target_loss=-1.0, num_updates=6) == [5, 6]
    # The start is no success of training.
    assert train("b", target_loss=10.0)[-1] == 1
    # Ten evaluations without a word of how many.
    assert train("c", target_loss=2.5, evaluate_every=None, num_updates=40)[-1] == 4


def test_a_run_that_is_stopped_in_between_ends_where_it_would_have():
    for record in unspool.train_run(settings(patience=3), "parts"):
        if record.update == 6:
            break
    run = Run.open("parts")
    assert (run.checkpoints, run.read_evaluations()[-1].update) == ([0], 6)
    assert best_params(run) == 4.0
    # What a killed run goes on from has its best beside it.
    assert sorted(file.name for file in Path("parts/best").iterdir()) == ["0.npz", "4.npz"]
    first = next(records := unspool.resume_run("parts"))
    assert (first.update, Run.open("parts").best.update) == (1, 1)
    assert [record.update for record in records][-1] == 7
    train("whole", patience=3)
    for file in ("metrics.jsonl", "evaluation.jsonl"):
        assert lines(f"parts/{file}") == lines(f"whole/{file}")
    for file in ("checkpoints/7.npz", "best/4.npz", "status.json"):
        assert Path("parts", file).read_bytes() == Path("whole", file).read_bytes()


def test_a_run_that_was_killed_before_it_was_called_finished_ends_at_once():
    train("a", patience=3)
    told = Run.open("a").read_status()
    Run.open("a").finish("running")
    assert resume("a") == []
    assert Run.open("a").read_status() == told


LOSSES = {
    "": ([4, 3, 2, 1, 0, 1, 2], {"patience": 3}),
    "no lower loss than that at update 1, 3, in 2 evaluations": ([4, 3, 3, 3], {"patience": 2}),
    "no lower loss, in 3 evaluations": ([None, None, None], {"patience": 3}),
    "at update 0, 1, in 1 evaluations": ([1, None], {"patience": 1}),
    "an evaluated loss of 2 at update 1": ([4, 2], {"target_loss": 2.0, "patience": 9}),
}


@pytest.mark.parametrize("said", LOSSES)
def test_the_reason_to_stop_follows_from_the_losses(said):
    losses, limits = LOSSES[said]
    found = [EvaluationLine(update=n, loss=loss) for n, loss in enumerate(losses)]
    why = why_to_stop(found, settings(**limits))
    assert said in why and bool(why) == bool(said)
    assert not why_to_stop(found[:1], settings(**limits)) and not why_to_stop([], settings())
    assert not why_to_stop(found, settings())


def test_limits_of_evaluations_are_checked():
    with pytest.raises(ValueError, match="patience must be an integer of at least 1, got 0"):
        settings(patience=0)
    with pytest.raises(ConfigError, match="target_loss must be a finite number, got nan"):
        settings(target_loss=np.nan)
    with pytest.raises(ConfigError, match="patience needs evaluations: num_episodes must be at"):
        settings(patience=1, num_episodes=0)
    with pytest.raises(RunError, match="has no evaluation to be the best one"):
        Run.create("a", {}).load_best(jnp.array(0.0))


def test_the_command_line_says_why_a_run_has_ended(capsys):
    argv = ["train", "mine.py:Valley", "bptt", "--optimizer", "mine.py:ready", "--directory", "a"]
    argv += ["--num-updates=20", "--evaluate-every=1", "--num-episodes=2"]
    assert main([*argv, "--patience", "2"]) == 0
    said = capsys.readouterr().out
    assert "best      0 at update 4" in said
    assert "ended     it has brought no lower loss than that at update 4" in said
    assert main(["train", "--resume", "a", "--patience=0"]) == 2
    assert "--patience must be an integer of at least 1, got 0" in one_line(capsys)
    assert main(["train", "--resume", "a", "--patience=3"]) == 0
    assert read("a/config.json")["settings"]["patience"] == 3


def test_a_comparison_keeps_runs_whose_limits_have_become_wider():
    train("a", patience=3)

    def standing(**limits) -> str:
        config = msgspec.structs.replace(unspool.build_training(settings()).config, **limits)
        kept = *LIMITS, "checkpoint_every", "log"
        planned = Planned("BPTT", None, config, kept, {}, Path("a"), cost=1)
        return find_standing(planned, Path("a"), Path())

    assert [standing(patience=n) for n in (3, 4, None, 2)] == ["done", "open", "open", "other"]
    assert standing(patience=3, target_loss=0.0) == "other"
    assert standing(patience=None, num_updates=7) == "done"


def test_the_best_of_networks_in_half_precision_comes_back_bit_by_bit():
    params = {"w": jax.random.normal(jax.random.key(0), (3,), jnp.bfloat16), "n": 3}
    run = Run.create("a", {})
    run.append_evaluation(EvaluationLine(update=0, loss=np.nan), {"w": params["w"] * 2, "n": 3})
    assert run.best is None and not Path("a/best").exists()
    run.append_evaluation(EvaluationLine(update=0, loss=1.0), params)
    run.append_evaluation(EvaluationLine(update=1, loss=2.0), {"w": params["w"] * 2, "n": 3})
    found = run.load_best({"w": jnp.zeros(3, jnp.bfloat16), "n": 4})
    assert found["n"] == 4 and found["w"].tobytes() == params["w"].tobytes()


META = """
import jax.numpy as jnp
import optax
from unspool.problems.learned_optimizer import LearnedSGD, OptimizerTraining, Task
from unspool.problems.schedules import Data, Model

model = Model(lambda key: jnp.ones(()), lambda weights, x: jnp.mean((weights - x) ** 2))
task = Task(model, Data(jnp.zeros(4), jnp.zeros(1), batch_size=2))
training = OptimizerTraining(LearnedSGD(), task, horizon=4)
uphill = optax.sgd(-0.01)
"""


def test_the_best_parameters_are_exported_by_name():
    Path("meta.py").write_text(META)
    config = TrainConfig(
        problem=Spec("meta.py:training"), estimator=Spec("bptt"),
        optimizer=Spec("meta.py:uphill"), num_updates=3, num_episodes=2,
        evaluate_every=1,
    )  # fmt: skip
    *_, last = unspool.train_run(config, "a")
    run = Run.open("a")
    assert run.best.update == 0, "it goes uphill"
    found = export.save_run("a", update="best")
    assert found.update == 0
    start = unspool.build_training(config).problem.init_params(key=jax.random.key(0))
    for one, two, other in zip(
        *map(jax.tree.leaves, (found.params, start, last.params)), strict=True
    ):
        assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert main(["export", "a", "--update", "best", "--file", "best.safetensors"]) == 0
    assert Path("best.safetensors").read_bytes() == found.file.read_bytes()
