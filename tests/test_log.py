"""Loggers: the curves that other packages read back are those of the run's own files."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax.numpy as jnp
import msgspec
import numpy as np
import optax
import pytest

import unspool
import unspool.log
from support import logs
from support.cli import one_line, read
from support.limits import HANG
from unspool import Run, Spec, TrainConfig
from unspool._config import names
from unspool.cli.__main__ import main
from unspool.experiments.own.plan import plan_selection
from unspool.problems import schedules
from unspool.records import Status

LOGGERS = Spec("tensorboard"), Spec("mlflow"), Spec("wandb", {"project": "tests"})
ENVIRONMENT = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRACKING_URI": "file:./mlruns",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.05",
}

# Dies two updates after a checkpoint, once Weights & Biases has written what it was given: it does
# so now and then, in a process of its own.
KILLED = """
import os, pathlib, signal, sys
import unspool
from support import logs

for record in unspool.train_run(unspool.TrainConfig.read("settings.toml"), "run"):
    if record.update == 6:
        while (6, record.loss) not in logs.curves_of_wandb(pathlib.Path("wandb")).get("loss", []):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
"""


def settings(**changes) -> TrainConfig:
    """The settings of a short training with checkpoints at every fourth update."""
    fast = {"num_updates": 8, "checkpoint_every": 4, "num_episodes": 2, "evaluate_every": 2}
    nres = Spec("nres", {"num_workers": 2})
    return TrainConfig(problem=Spec("cubic"), estimator=nres, **fast | changes)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The directory of a run that was killed after a checkpoint, and has gone on to its end."""
    path = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
        settings(log=LOGGERS).write("settings.toml")
        assert TrainConfig.read("settings.toml").log == LOGGERS
        killed = subprocess.run([sys.executable, "-c", KILLED], timeout=HANG)
        assert killed.returncode == -signal.SIGKILL
        before = [line.update for line in Run.open("run").read_metrics()]
        assert (before[-1], Run.open("run").checkpoints) == (6, [0, 4])
        assert [record.update for record in unspool.resume_run("run")] == [5, 6, 7, 8]
        yield path


def mlflow_run():
    from mlflow import MlflowClient

    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("Default").experiment_id])
    return client, run


READERS = {
    "tensorboard": lambda: logs.curves_of_events(Path("run")),
    "mlflow": lambda: logs.curves_of_mlflow(*mlflow_run()),
    "wandb": lambda: logs.curves_of_wandb(Path("wandb")),
}


@pytest.mark.parametrize("reader", READERS)
def test_the_curves_are_those_of_the_runs_own_files(reader, resumed):
    expected, found = logs.curves_of_files(Path("run")), READERS[reader]()
    assert sorted(found) == sorted(expected)
    # What W&B had not written when it was killed is lost, and not sent again.
    lost = {5, 6} if reader == "wandb" else set()
    # What cannot be taken back has the seconds of updates that were made twice as they were first.
    both = reader == "tensorboard"
    for name, points in expected.items():
        wanted, shown = dict(points), dict(found[name])
        updates = [update for update in wanted if update in shown or update not in lost]
        assert [update for update, _ in found[name]] == updates, name
        if name != "seconds" or both:
            pairs = np.float32([(shown[update], wanted[update]) for update in updates])
            np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1], name)
    assert [update for update, _ in expected["loss"]] == list(range(1, 9))
    assert [update for update, _ in expected["evaluation/loss"]] == [0, 2, 4, 6, 8]


def test_steps_that_came_again_are_doubled_without_the_loggers_care(resumed):
    """The negative control: the event files hold them twice, and a reader is told to purge."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    files = sorted(str(file) for file in Path("run").glob("events.*"))
    assert len(files) == 2
    events = [event for file in files for event in LegacyEventFileLoader(file).Load()]
    steps = Counter(
        event.step for event in events for value in event.summary.value if value.tag == "loss"
    )
    assert steps == Counter({1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 1, 8: 1})


def test_settings_are_hyperparameters(resumed):
    from tensorboard.plugins.hparams import metadata

    expected = {
        "problem": "cubic", "problem.horizon": 8, "estimator": "nres", "estimator.num_workers": 2,
        "optimizer": "adam", "optimizer.learning_rate": 0.01, "num_updates": 8, "float64": False,
    }  # fmt: skip
    expected |= {"problem": "Cubic", "estimator": "NRES"}
    _, run = mlflow_run()
    assert {name: run.data.params.get(name) for name in expected} == {
        name: str(value) for name, value in expected.items()
    }
    reader = logs.read_events(Path("run"))
    content = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    shown = {name: getattr(told[name], told[name].WhichOneof("kind")) for name in expected}
    assert shown == expected
    (config, *_) = [m for m in logs.read_wandb(Path("wandb")) if m.HasField("config")]
    updated = {item.key: item.value_json for item in config.config.update}
    assert updated["optimizer.learning_rate"] == "0.01"


def test_the_end_of_a_run_is_told(resumed):
    _, run = mlflow_run()
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "finished")
    assert run.info.run_name == "run"
    (said,) = logs.read_events(Path("run")).Tensors("status/text_summary")
    assert (said.step, said.tensor_proto.string_val) == (8, [b"finished"])
    exits = [m.exit.exit_code for m in logs.read_wandb(Path("wandb")) if m.HasField("exit")]
    assert exits == [0]
    ids = {m.run.run_id for m in logs.read_wandb(Path("wandb")) if m.HasField("run")}
    assert ids == {read("run/wandb.json")["id"]}


class Told(unspool.log.AbstractLogger):
    """Notes what it is told, and fails at an update if it is to."""

    def __init__(self, fails_at=None):
        self.told, self.fails_at = [], fails_at

    def start(self, config, directory=None, update=None):
        self.told.append(("start", update))

    def log_record(self, record):
        if record.update == self.fails_at:
            raise OSError("no space left")
        self.told.append(("record", record.update))

    def log_evaluation(self, line):
        self.told.append(("evaluation", line.update))

    def finish(self, status):
        self.told.append((status.state, status.message))


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_logger_that_fails_is_left_out_and_the_run_goes_on(somewhere):
    failing, other = Told(fails_at=3), Told()
    message = r"Told cannot log the run in a any longer, .* OSError: no space left"
    with pytest.warns(UserWarning, match=message):
        records = list(unspool.train_run(settings(), "a", loggers=[failing, other]))
    assert failing.told == [
        ("start", None), ("evaluation", 0), ("record", 1), ("record", 2), ("evaluation", 2)
    ]  # fmt: skip
    assert other.told[-2:] == [("evaluation", 8), ("finished", "")]
    assert [record.update for record in records] == list(range(1, 9))
    list(unspool.train_run(settings(), "b"))
    same = "checkpoints/8.npz"
    assert Path("a", same).read_bytes() == Path("b", same).read_bytes()


def test_a_logger_that_cannot_even_start_is_left_out(somewhere):
    Path("file").write_text("")
    with pytest.warns(UserWarning, match="TensorBoard cannot log the run in a any longer"):
        list(unspool.train_run(settings(), "a", loggers=[unspool.log.TensorBoard("file")]))
    assert Run.open("a").read_status().state == "finished"


def test_a_run_that_is_left_and_gone_on_with_tells_where(somewhere):
    told = Told()
    for record in unspool.train_run(settings(), "a", loggers=[told]):
        if record.update == 5:
            break
    # Without a reference to the iterator, it has ended here.
    assert told.told[-2:] == [("record", 5), ("running", "")]
    told = Told()
    list(unspool.resume_run("a", loggers=[told]))
    assert told.told[:2] == [("start", 4), ("record", 5)]


def test_a_training_that_fails_tells_its_loggers(somewhere):
    told = Told()
    config = settings(optimizer=Spec("sgd", {"learning_rate": 1e30}), num_updates=200)
    with pytest.raises(unspool.TrainingError) as raised:
        list(unspool.train_run(config, "a", loggers=[told]))
    assert told.told[-1] == ("failed", str(raised.value))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflows_usual_store_is_a_database(somewhere, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    logger = unspool.log.MLflow("some", tracking_uri="sqlite:///mlflow.db")
    list(unspool.train_run(settings(), "a", loggers=[logger]))
    client = MlflowClient("sqlite:///mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("some").experiment_id])
    found, expected = logs.curves_of_mlflow(client, run), logs.curves_of_files(Path("a"))
    assert {name: sorted(points) for name, points in found.items()} == expected


def test_numbers_that_are_not_finite_are_in_no_curve(somewhere):
    known = {"update": 1, "seconds": 0.5, "loss": np.nan, "grad_norm": np.inf}
    record = unspool.Record(**(dict.fromkeys(unspool.Record._fields, 0) | known))
    logger = unspool.log.TensorBoard("events")
    logger.start({"none": None, "many": [1, 2]})
    logger.log_record(record)
    logger.finish(Status("finished"))
    curves = logs.curves_of_events(Path("events"))
    assert "loss" not in curves and "grad_norm" not in curves
    assert curves["seconds"] == [(1, 0.5)]
    with pytest.raises(ValueError, match="directory must be given for what is no run"):
        unspool.log.TensorBoard().start({})


MINE = """
def show(record):
    print("seen", record.update)
"""


def test_loggers_are_named_on_the_command_line(somewhere, capsys):
    Path("mine.py").write_text(MINE)
    fast = ["--num-updates=2", "--num-workers=2", "--num-episodes=2"]
    argv = ["train", "cubic", "nres", *fast, "--log", "mine.py:show", "tensorboard"]
    assert main([*argv, "--tensorboard.directory=events", "--directory=a"]) == 0
    assert "seen 1\n" in capsys.readouterr().out
    assert logs.curves_of_events(Path("events/a")) != {}
    named = [{"name": "mine.py:show", "options": {}}]
    named += [{"name": "tensorboard", "options": {"directory": "events"}}]
    assert read("a/config.json")["settings"]["log"] == named
    Path("folder").mkdir()
    config = TrainConfig.read("a/config.json")
    config.write("folder/settings.toml")
    assert '"../mine.py:show"' in Path("folder/settings.toml").read_text()
    assert TrainConfig.read("folder/settings.toml").log == config.log
    Path("short.toml").write_text(
        'problem = "cubic"\nestimator = "nres"\n'
        'log = ["mine.py:show", { name = "tensorboard", options = { directory = "events" } }]\n'
    )
    assert TrainConfig.read("short.toml").log == config.log
    assert main(["train", "--resume", "a", "--num-updates=3"]) == 0
    assert "seen 3\n" in capsys.readouterr().out


def test_loggers_are_listed_with_their_options(capsys):
    assert main(["list", "loggers", "wandb"]) == 0
    said = capsys.readouterr().out
    assert "options: --tensorboard.directory None" in said
    assert "begin with: unspool train PROBLEM nres --log wandb" in said
    assert sorted(names.loggers()) == ["mlflow", "tensorboard", "wandb"]


WRONG = {
    ("--log", "tensorbord"): "there is no logger 'tensorbord'; did you mean tensorboard?",
    ("--log", "mine.py:shown"): "there is no 'shown' in mine.py; did you mean show?",
    ("--log", "mine.py:number"): "mine.py:number is of type int, and must be a subclass or",
    ("--log", "wandb", "wandb"): "--log: wandb is there twice",
    ("--log", "wandb", "--wandb.projekt=x"): "no option --wandb.projekt; did you mean --wandb.proj",
    ("--wandb.project=x",): "there is no option --wandb.project",
    ("--log", "tensorboard"): "logging to TensorBoard needs tensorboardX, which is not there: pip "
    "install 'unspool[log]'",
}


@pytest.mark.parametrize("argv", WRONG, ids=" ".join)
def test_a_wrong_logger_is_explained_before_anything_is_written(
    argv, somewhere, capsys, monkeypatch
):
    Path("mine.py").write_text(MINE + "number = 3\n")
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["train", "cubic", "nres", *argv]) == 2
    assert WRONG[argv] in one_line(capsys)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_comparison_logs_what_it_shows_and_a_logger_makes_no_run_another(somewhere):
    config = unspool.CompareConfig(
        problem=Spec("cubic"), estimators={"NRES": Spec("nres", {"num_workers": 2})}, seeds=1,
        num_updates=2, num_episodes=2,
    )  # fmt: skip
    unspool.compare(config, "a", num_processes=1)
    before = Path("a/NRES-0/metrics.jsonl").read_text()
    assert list(Path("a").rglob("events.*")) == []
    config = msgspec.structs.replace(config, log=(Spec("tensorboard"),), num_updates=4)
    found = unspool.compare(config, "a", num_processes=1)
    assert found.earlier == ()
    assert Path("a/NRES-0/metrics.jsonl").read_text().startswith(before)
    loss = logs.curves_of_events(Path("a/NRES-0"))["loss"]
    assert [update for update, _ in loss] == [3, 4]
    several = msgspec.structs.replace(config, learning_rates=(0.1, 0.2))
    assert {each.config.log for each in plan_selection(several, Path("a"), Path())} == {()}


@pytest.mark.slow
def test_a_tuning_logs_records_and_then_evaluations(somewhere):
    model = schedules.Model(lambda key: jnp.ones(()), lambda w, x: jnp.mean((w - x) ** 2))
    data = schedules.Data(jnp.zeros(4), batch_size=2)
    space = {"learning_rate": schedules.Constant(0.1)}
    problem = schedules.ModelTraining(model, data, optax.sgd, space, horizon=10)
    told = Told()
    unspool.tune(problem, directory="tuned", num_updates=6, num_runs=1, loggers=[told])
    records = [("record", update) for update in range(1, 7)]
    assert told.told[:7] == [("start", None), *records]
    assert told.told[7:] == [
        ("evaluation", 0),
        ("evaluation", 5),
        ("evaluation", 6),
        ("finished", ""),
    ]
