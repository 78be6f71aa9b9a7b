"""The benchmark for accelerators at a small size: its numbers, its budget, and going on."""

import contextlib
import dataclasses
import importlib.util
import io
import json
import math
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from unspool.data import search_path
from unspool.experiments import LoptFashionMnistExperiment

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import accelerator
from accelerator_parts import PARTS, correctness, fashion_mnist, part
from accelerator_parts.results import Results
from accelerator_parts.table import format_table

# One that perturbs, and one that differentiates and draws signs. All of them take half a minute.
SOME = ("NRES", "UORO")


def write_idx(path, array):
    header = np.array([0x0800 | array.ndim, *array.shape], ">u4")
    path.write_bytes(header.tobytes() + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with files like those of Fashion-MNIST, of 60 made-up images."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("train", "t10k"):
        write_idx(folder / f"{name}-images-idx3-ubyte", generator.integers(0, 256, (60, 28, 28)))
        write_idx(folder / f"{name}-labels-idx1-ubyte", generator.integers(0, 10, 60))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, images):
    """The folder of a small run, and what it has printed."""
    out, printed, exported = tmp_path_factory.mktemp("out"), io.StringIO(), correctness.exported()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        some = {name: kind for name, kind in exported.items() if name in SOME}
        patch.setattr(correctness, "exported", lambda: some)
        accelerator.main(["--small", "--out", str(out), "--data", str(images), "--minutes", "60"])
    return out, printed.getvalue()


def read(out):
    return json.loads((out / "accelerator.json").read_text())


@pytest.mark.slow
def test_a_small_run_measures_every_part_and_prints_a_table_last(finished):
    out, printed = finished
    results = read(out)
    assert list(results["parts"]) == [part.name for part in PARTS]
    rows = [row for rows in results["parts"].values() for row in rows.values()]
    assert all(row["complete"] for row in rows)
    assert printed.endswith(format_table(PARTS, results) + "\n")
    assert results["environment"]["device"] == "cpu" and results["environment"]["driver"] is None
    row = results["parts"]["lorenz"]["20 workers"]
    steps = unspool.NRES(20, 5, 0.04).plan(20).num_steps
    assert row["steps_per_second"] == pytest.approx(steps / row["seconds_per_update"])
    assert 1 < row["launches_per_step"] < 200 and row["work_bytes"] > 0
    assert row["flops_per_second"] > row["steps_per_second"] and math.isfinite(row["loss"])


@pytest.mark.slow
def test_what_could_not_be_measured_is_null_and_a_dash(finished):
    out, printed = finished
    parts = read(out)["parts"]
    row = parts["lorenz"]["20 workers"]
    assert row["share_of_peak"] is None
    line = next(line for line in printed.splitlines() if line.startswith("20 workers"))
    assert line.split()[5] == "-"
    (tf32,) = (row for name, row in parts["learned optimizer"].items() if "tf32" in name)
    assert tf32 == {"complete": True, "note": "TF32 is arithmetic of GPUs"}


@pytest.mark.slow
def test_estimates_in_float32_are_those_in_float64(finished):
    rows = read(finished[0])["parts"]["correctness"]
    assert tuple(rows) == SOME
    for row in rows.values():
        assert row["right"] and 0 < row["deviation"] < 1e-5 and row["default_deviation"] is None


@pytest.mark.slow
def test_a_finished_run_is_resumed_without_measuring(finished, images, capsys):
    out, printed = finished
    before = read(out)["parts"]
    arguments = ["--small", "--out", str(out), "--data", str(images), "--resume"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correctness, "exported", lambda: {name: None for name in SOME})
        patch.setattr("accelerator_parts.lorenz.measure_training", None)
        accelerator.main(arguments)
    assert read(out)["parts"] == before
    assert "measured" not in capsys.readouterr().out


@pytest.mark.slow
def test_meta_training_goes_on_from_its_checkpoint(finished, images, tmp_path):
    """Cut off after each chunk of updates, and once between the row and the checkpoint."""
    row = read(finished[0])["parts"]["fashion-mnist"]["seed 53"]
    whole = [(update, loss) for update, _, loss in row["points"]]
    training = fashion_mnist.published_training(images, small=True)
    plan, checkpoint = fashion_mnist.Plan(12, 2, 3), tmp_path / "checkpoint.npz"
    run = lambda points, left: fashion_mnist.meta_train(
        training, plan, 53, checkpoint, points, left
    )
    start, cut = run([], lambda: 0.0)
    assert start["updates"] == 0 and start["seconds_per_update"] is None
    assert not cut["complete"] and cut["updates"] == 2 and checkpoint.exists()
    # The generator is left before it writes the checkpoint of update 8.
    further = next(run(cut["points"], lambda: 1e9))
    assert not further["complete"] and further["updates"] == 8
    *_, last = run(further["points"], lambda: 1e9)
    assert last["complete"] and not checkpoint.exists()
    assert [(update, loss) for update, _, loss in last["points"]] == whole
    seconds = [seconds for _, seconds, _ in last["points"]]
    assert seconds == sorted(seconds) and seconds[0] == 0 < seconds[1]
    assert whole[0][1] != whole[-1][1]


def test_the_level_ends_a_meta_training():
    points = [[0, 0.0, 2.3], [100, 4.0, math.nan], [200, 8.0, 0.6], [300, 12.0, 0.5]]
    row = fashion_mnist.describe(points)
    assert (row["reached_update"], row["reached_s"]) == (200, 8.0)
    assert row["times_faster"] == pytest.approx(691.7 / 8)
    assert fashion_mnist.describe(points[:2])["reached_s"] is None


def test_the_meta_training_is_that_of_the_experiment(images):
    problem, estimator, optimizer = fashion_mnist.published_training(images)
    experiment = LoptFashionMnistExperiment.at_paper_size()
    experiment = dataclasses.replace(experiment, data_dir=str(images))
    entry = experiment.entry("NRES")
    assert experiment.published_seeds == fashion_mnist.SEEDS
    assert jax.tree.structure(problem) == jax.tree.structure(entry.problem)
    for mine, its in zip(jax.tree.leaves(problem), jax.tree.leaves(entry.problem), strict=True):
        assert np.array_equal(mine, its)
    assert eqx.tree_equal(estimator, entry.estimator)
    grads = jnp.array([1e-5, 3.0])
    found = [x.update(grads, x.init(grads))[0] for x in (optimizer, entry.optimizer.transformation)]
    assert np.array_equal(*found) and abs(found[0][0]) < 1e-4


def test_without_the_images_the_part_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search_path, "SYSTEM_DIRECTORY", tmp_path / "nothing")
    accelerator.main(["--small", "--out", str(tmp_path), "--only", "fashion-mnist"])
    (row,) = read(tmp_path)["parts"]["fashion-mnist"].values()
    assert not row["complete"] and "of Fashion-MNIST is not in" in row["note"]
    assert row["note"] in capsys.readouterr().out.splitlines()[-1]


def test_rows_end_with_the_time_and_survive_failures():
    seconds = iter((9.0, 9.0, 9.0, -1.0, -1.0))
    left = lambda: next(seconds)

    def fail(left):
        yield {"half": 1}
        raise RuntimeError("out of memory\nand more")

    cases = {"a": lambda left: [{"x": 1}], "b": fail, "c": lambda left: [{"x": 3}]}
    cases |= {"late": lambda left: [{"x": 4}], "known": fail}
    rows = dict(part.in_turn(cases, {"known": {"complete": True}}, left))
    assert rows == {
        "a": {"complete": True, "x": 1},
        "b": {"complete": False, "half": 1, "note": "RuntimeError: out of memory"},
        "c": {"complete": True, "x": 3},
        "late": {"complete": False, "note": "no time was left"},
    }
    rest = {"late": rows["late"], "b": rows["b"]}
    again = dict(part.in_parallel({"late": cases["late"], "b": fail}, rest, lambda: 1.0))
    assert again["late"] == {"complete": True, "x": 4} and list(again) == ["late", "b"]


def test_results_of_another_device_are_not_mixed(tmp_path):
    settings = part.Settings(tmp_path, None, True)
    Results.open(settings, resume=False).save("lorenz", "a row", {"x": math.nan})
    kept = Results.open(settings, resume=True)
    assert kept.rows("lorenz") == {"a row": {"x": None}}
    with pytest.raises(SystemExit, match="with --small: name another folder"):
        Results.open(settings._replace(small=False), resume=True)
    path = tmp_path / "accelerator.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "NVIDIA H200"'))
    with pytest.raises(SystemExit, match="results of the device NVIDIA H200, and this is cpu"):
        Results.open(settings, resume=True)


def test_missing_packages_are_named_in_a_sentence(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(sys, "path", [*sys.path])
    for gone, words in (
        ({"equinox", "optax"}, "needs the packages equinox, optax: unpack them"),
        ({"unspool"}, "set PYTHONPATH to the folder src"),
    ):
        find = lambda name, gone=gone: None if name in gone else found(name)
        monkeypatch.setattr(importlib.util, "find_spec", find)
        with pytest.raises(SystemExit, match=words):
            accelerator.main(["--out", str(tmp_path), "--packages", str(tmp_path)])
    assert sys.path[-1] == str(tmp_path) and not (tmp_path / "accelerator.json").exists()


def test_a_device_that_is_not_seen_costs_no_minutes(monkeypatch):
    accelerator.check_device(small=False)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    accelerator.check_device(small=True)
    with pytest.raises(SystemExit, match="JAX finds no accelerator here"):
        accelerator.check_device(small=False)


def test_the_cpu_is_there_beside_an_accelerator(monkeypatch):
    for given, wanted in (("cuda", "cuda,cpu"), ("cpu", "cpu"), ("cuda,cpu", "cuda,cpu")):
        monkeypatch.setenv("JAX_PLATFORMS", given)
        monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
        accelerator.prepare_jax()
        assert accelerator.os.environ["JAX_PLATFORMS"] == wanted
