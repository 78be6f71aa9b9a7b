"""Files of learned optimizers: what is kept, what is refused, and that nothing in them is run."""

import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support.export import SMALL, TREES, init, same
from support.export import params as params
from support.slow import slow
from unspool import export
from unspool.problems import learned_optimizer
from unspool.problems.learned_optimizer import AbstractLearnedOptimizer, Frozen, MLPOptimizer

safetensors = pytest.importorskip("safetensors.numpy")


def test_parameters_in_double_precision_are_kept_and_read_in_what_jax_has(tmp_path):
    with jax.enable_x64(True):
        params = SMALL.init_params(key=jax.random.key(0))
        assert params["layer0"]["matrix"].dtype == jnp.float64
        export.save_optimizer(SMALL, params, tmp_path / "file")
        same(export.read_optimizer(tmp_path / "file").params, params)
    single = export.read_optimizer(tmp_path / "file").params
    same(single, jax.tree.map(lambda x: np.asarray(x, np.float32), params))


def test_a_file_holds_everything_to_the_bit(params, tmp_path):
    file = tmp_path / "optimizer.safetensors"
    export.save_optimizer(SMALL, params, file, notes={"task": "a line", "updates": 3})
    saved = export.read_optimizer(file)
    assert saved.optimizer == SMALL
    assert saved.notes == {"task": "a line", "updates": 3}
    same(saved.params, params)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]

    # Other programs see the arrays by their names; and the same gives the same bytes.
    assert sorted(safetensors.load_file(file)) == sorted(
        f"layer{i}.{name}" for i in range(2) for name in ("bias", "matrix")
    )
    before = file.read_bytes()
    export.save_optimizer(SMALL, params, file, notes={"task": "a line", "updates": 3})
    assert file.read_bytes() == before

    weights = init(jax.random.key(0))
    found = []
    for transformation in (export.load_optimizer(file), export.as_optax(SMALL, params)):
        found.append(transformation.update(weights, transformation.init(weights), weights))
    same(*found)


EXPORTED = sorted(
    name
    for name, value in vars(learned_optimizer).items()
    if isinstance(value, type) and issubclass(value, AbstractLearnedOptimizer)
    if value not in (AbstractLearnedOptimizer, Frozen)
)


@pytest.mark.parametrize("name", [slow(name, when=name == "FactoredMLP") for name in EXPORTED])
def test_every_learned_optimizer_goes_through_a_file(name, tmp_path):
    made = getattr(learned_optimizer, name)()
    params, file = made.init_params(key=jax.random.key(0)), tmp_path / "file"
    export.save_optimizer(made, params, file)
    saved = export.read_optimizer(file)
    assert saved.optimizer == made
    same(saved.params, params)
    weights = TREES["nested"]
    for transformation in (export.load_optimizer(file), export.as_optax(made, params)):
        updates, _ = transformation.update(weights, transformation.init(weights), weights)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(updates))


def test_what_was_frozen_is_saved_with_the_rest(params, tmp_path):
    frozen = Frozen(SMALL, params, ("layer0",))
    learned = jax.tree.map(lambda x: x + 1, frozen.init_params(key=jax.random.key(0)))
    # One within another, as a third stage of meta-training would have it.
    twice = Frozen(frozen, learned, ("layer1.bias",))
    file = tmp_path / "file"
    export.save_optimizer(twice, twice.init_params(key=jax.random.key(0)), file)
    saved = export.read_optimizer(file)
    assert saved.optimizer == SMALL
    same(saved.params, frozen.full(learned))
    weights = init(jax.random.key(0))
    found = [
        transformation.update(weights, transformation.init(weights), weights)[0]
        for transformation in (export.load_optimizer(file), export.as_optax(frozen, learned))
    ]
    same(*found)


class Signs(AbstractLearnedOptimizer):
    """An optimizer of the user's: its parameters are a bare array, its state is empty."""

    floor: float = 0.0
    name: str = "signs"

    def init_params(self, *, key):
        return jnp.zeros(())

    def init(self, weights):
        return ()

    def update(self, params, gradients, state, weights, t):
        rate = jnp.exp(params) + self.floor
        return jax.tree.map(lambda g: -rate * jnp.sign(g), gradients), state


def test_a_class_of_the_users_is_given_and_never_imported(tmp_path):
    file = tmp_path / "signs.safetensors"
    export.save_optimizer(Signs(0.5), jnp.ones(()), file)
    with pytest.raises(ValueError, match="no class of this library.*optimizer=..."):
        export.load_optimizer(file)
    for given in (Signs, Signs(0.5)):
        saved = export.read_optimizer(file, optimizer=given)
        assert saved.optimizer == Signs(0.5)
        same(saved.params, jnp.ones(()))
    with pytest.raises(ValueError, match=r"floor=0.5, .* must be that, got .*floor=0.1"):
        export.load_optimizer(file, optimizer=Signs(0.1))
    with pytest.raises(ValueError, match="was saved of .*Signs.*: optimizer must be that"):
        export.load_optimizer(file, optimizer=MLPOptimizer)


def described(file, tmp_path, **changes):
    """The same file, with another description."""
    entry = "unspool.learned_optimizer"
    with safetensors.safe_open(file, "numpy") as opened:
        found = json.loads(opened.metadata()[entry])
    found = {name: value for name, value in (found | changes).items() if value is not None}
    forged = tmp_path / "forged.safetensors"
    safetensors.save_file(safetensors.load_file(file), forged, {entry: json.dumps(found)})
    return forged


def test_a_file_cannot_have_anything_run(params, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "optimizer.safetensors"
    export.save_optimizer(SMALL, params, file)
    for name in (
        "evil:Evil",
        "os:system",
        "Task",
        "AbstractLearnedOptimizer",
        "Frozen",
        "",
        "__loader__",
    ):
        with pytest.raises(ValueError, match="no class of this library"):
            export.load_optimizer(described(file, tmp_path, **{"class": name}))
    assert "evil" not in sys.modules


def test_other_files_are_refused_in_a_sentence(params, tmp_path):
    file, bad = tmp_path / "optimizer.safetensors", tmp_path / "bad"
    export.save_optimizer(SMALL, params, file)
    whole = file.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="must be a file that save_optimizer wrote.*cut short"):
            export.load_optimizer(bad)
    bad.write_text("a text that is none of these, of some length")
    with pytest.raises(ValueError, match="must be a file that save_optimizer wrote"):
        export.load_optimizer(bad)
    with pytest.raises(ValueError, match="must be a file that save_optimizer wrote"):
        export.load_optimizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file .*absent"):
        export.load_optimizer(tmp_path / "absent")
    safetensors.save_file({"x": np.ones(3)}, bad)
    with pytest.raises(ValueError, match="has other contents"):
        export.load_optimizer(bad)
    changes = {
        "must have format 1, got 2": {"format": 2},
        "must hold a learned optimizer: KeyError": {"fields": None},
        "must hold a learned optimizer: TypeError": {"fields": {"hidden": {"a": 1}}},
        "its description does not fit": {"params": ["x"]},
        "must hold a learned optimizer: ValueError": {"notes": [1]},
        "must hold parameters of shapes": {"fields": {"hidden": [5]}},
        "holds no legal MLPOptimizer": {"fields": {"width": 5}},
        "hidden.*must be": {"fields": {"hidden": [0]}},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=message):
            export.load_optimizer(described(file, tmp_path, **change))


class Lists(Signs):
    """One whose fields are not plain."""

    rates: list = eqx.field(default_factory=list)


def test_what_cannot_be_written_is_refused_and_what_was_there_is_kept(params, tmp_path):
    file = tmp_path / "optimizer.safetensors"
    export.save_optimizer(SMALL, params, file)
    before = file.read_bytes()
    refused = {
        r"numbers, words, or tuples of them, got \[1\] for rates": (Lists(rates=[1]), jnp.ones(())),
        "float64, got bfloat16 in params": (Signs(), jnp.ones((), jnp.bfloat16)),
        "params must be those of MLPOptimizer": (MLPOptimizer(), params),
    }
    for message, (optimizer, wrong) in refused.items():
        with pytest.raises(ValueError, match=message):
            export.save_optimizer(optimizer, wrong, file)
    with pytest.raises(ValueError, match="notes must be what JSON can hold"):
        export.save_optimizer(SMALL, params, file, notes={"x": SMALL})
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_without_safetensors_the_extra_is_named(params, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'unspool\[export\]'"):
        export.save_optimizer(SMALL, params, tmp_path / "x")
