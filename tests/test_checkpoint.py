"""Checkpoints: what is written is read back, and nothing else is."""

import random
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import unspool

KEY = jax.random.key(0)
FLOATS = [
    name
    for name in dir(ml_dtypes)
    if name.startswith(("bfloat", "float8", "int4", "uint4", "int2", "uint2"))
]


def same(one, two):
    """Whether two arrays are the same bits of the same type."""
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data
        return one.dtype == two.dtype and np.array_equal(data(one), data(two))
    one, two = np.asarray(one), np.asarray(two)
    alike = (one.dtype, one.shape) == (two.dtype, two.shape)
    return alike and one.tobytes() == two.tobytes()


def everything():
    odd = {}
    for name in FLOATS:
        kind = getattr(ml_dtypes, name)
        try:
            odd[name] = jnp.asarray(np.array([0, 1, 1, 0], kind))
        except (TypeError, ValueError):
            continue  # Not every type of theirs is one of JAX.
    assert {"bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"} <= set(odd)
    generators = ("threefry2x32", "rbg", "unsafe_rbg")
    return odd | {
        "keys": {name: jax.random.key(3, impl=name) for name in generators},
        "many keys": jax.random.split(KEY, (2, 3)),
        "bits": jnp.array([np.nan, -np.nan, -0.0, np.inf, 1e-40], jnp.bfloat16),
        "scalar": jnp.array(1.5, jnp.float16),
        "half scalar": jnp.array(1.5, jnp.bfloat16),
        "empty": jnp.zeros((0, 3), jnp.bfloat16),
        "truth": jnp.array([True, False]),
        "weak": jnp.asarray(2.0),
        "complex": jnp.array([1 + 2j]),
        "bytes": jnp.array([1, 255], jnp.uint8),
        "a/b": jnp.arange(3),
        "of NumPy": np.arange(3.0),
        "transposed": np.asfortranarray(np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3)),
    }


def test_every_type_comes_back_bit_by_bit(tmp_path):
    tree = everything()
    unspool.save_checkpoint(tmp_path / "a.npz", tree)
    for like in (tree, jax.eval_shape(lambda: tree)):
        if like is not tree:
            # Sixty-four bits are NumPy's alone.
            like["of NumPy"] = tree["of NumPy"]
        found = unspool.load_checkpoint(tmp_path / "a.npz", like)
        for (path, one), two in zip(
            jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(found), strict=True
        ):
            assert same(one, two), path


@pytest.mark.parametrize(
    ("there", "wanted", "what"),
    [
        (jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16), "bfloat16[2]"),
        (jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.uint16), "bfloat16[2]"),
        (jnp.ones(2, jnp.uint16), jnp.ones(2, jnp.bfloat16), "uint16[2]"),
        (jax.random.key(0, impl="rbg"), jax.random.key(0, impl="unsafe_rbg"), "key rbg[4]"),
        (jax.random.key(0), jnp.ones(2, jnp.uint32), "key threefry2x32[2]"),
        (jnp.ones(2), jnp.ones(3), "float32[2]"),
    ],
)
def test_another_type_is_of_another_run(tmp_path, there, wanted, what):
    unspool.save_checkpoint(tmp_path / "a.npz", {"x": there})
    why = f"['x'] is {what} there, and must be {wanted.dtype}{[*wanted.shape]}"
    with pytest.raises(unspool.CheckpointError, match=re.escape(f"is of another run: {why}")):
        unspool.load_checkpoint(tmp_path / "a.npz", {"x": wanted})


@pytest.mark.parametrize(
    ("names", "why"), [("x", r"it lacks \['y'\]"), ("xyz", r"nothing wants its \['z'\]")]
)
def test_other_leaves_are_of_another_run(tmp_path, names, why):
    unspool.save_checkpoint(tmp_path / "a.npz", dict.fromkeys(names, jnp.ones(2)))
    with pytest.raises(unspool.CheckpointError, match="is of another run: " + why):
        unspool.load_checkpoint(tmp_path / "a.npz", dict.fromkeys("xy", jnp.ones(2)))


@pytest.mark.parametrize(
    "leaf", [1.5, "text", np.array(["text"]), np.array([None]), np.array("2020", "M8[Y]"), len]
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, leaf):
    unspool.save_checkpoint(tmp_path / "a.npz", {"x": jnp.ones(2)})
    with pytest.raises(unspool.CheckpointError, match=r"the leaf \['x'\] cannot be saved"):
        unspool.save_checkpoint(tmp_path / "a.npz", {"x": leaf})
    with pytest.raises(unspool.CheckpointError, match=r"\['a\|b'\] cannot be saved: another"):
        unspool.save_checkpoint(tmp_path / "a.npz", {"a/b": jnp.ones(1), "a|b": jnp.ones(1)})
    assert unspool.load_checkpoint(tmp_path / "a.npz", {"x": jnp.ones(2)})["x"].sum() == 2


def test_a_checkpoint_of_version_one_is_read(tmp_path):
    """They are plain, and say nothing of keys."""
    tree = {"x": jnp.arange(3.0), "key": jax.random.key(7, impl="rbg")}
    data = np.asarray(jax.random.key_data(tree["key"]))
    np.savez(tmp_path / "a.npz", **{"['x']": np.arange(3, dtype=np.float32), "['key']": data})
    found = unspool.load_checkpoint(tmp_path / "a.npz", tree)
    assert all(map(same, jax.tree.leaves(tree), jax.tree.leaves(found)))


def test_a_damaged_file_is_an_error_of_checkpoints_or_what_it_was(tmp_path):
    tree = {"x": jnp.arange(3, dtype=jnp.bfloat16), "key": jax.random.key(3), "y": jnp.ones(2)}
    file = tmp_path / "a.npz"
    unspool.save_checkpoint(file, tree)
    whole = file.read_bytes()
    draw = random.Random(0)
    refused = 0
    cut = [whole[:size] for size in range(0, len(whole), 37)]
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 1, 8))):
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        cut.append(bytes(damaged))
    for damaged in cut:
        file.write_bytes(damaged)
        try:
            found = unspool.load_checkpoint(file, tree)
        except unspool.CheckpointError:
            refused += 1
        else:
            assert all(map(same, jax.tree.leaves(tree), jax.tree.leaves(found)))
    assert refused > len(cut) / 2
    with pytest.raises(unspool.CheckpointError, match="cannot read"):
        unspool.load_checkpoint(tmp_path, tree)
    with pytest.raises(unspool.CheckpointError, match="cannot read"):
        unspool.load_checkpoint(tmp_path / "b.npz", tree)
    with pytest.raises(unspool.CheckpointError, match="cannot write"):
        unspool.save_checkpoint(tmp_path / "missing" / "a.npz", tree)


class Half(unspool.AbstractProblem):
    """Parameters and memory in half precision, and a key in the state."""

    horizon: int = 4

    def init_params(self, *, key):
        return {"w": jnp.array([0.25, 0.5], jnp.bfloat16)}

    def init_state(self, params, *, key):
        return jnp.zeros(2, jnp.bfloat16), key

    def step(self, params, state, t, *, key):
        memory, own = state
        memory = (memory * 0.5 + params["w"]).astype(jnp.bfloat16)
        noise = 0.1 * jax.random.normal(own)
        loss = jnp.sum((memory.astype(jnp.float32) - 1.0 + noise) ** 2)
        return (memory, jax.random.split(own)[0]), loss


def test_a_run_in_half_precision_goes_on_to_the_same_bits(tmp_path):
    options = dict(key=KEY, log_every=2, checkpoint_every=2)
    settings = (Half(), unspool.NRES(2, 2, 0.25), optax.adam(0.1))
    run = unspool.Run.create(tmp_path / "run", {})
    list(run.train(*settings, num_updates=4, **options))
    last = run.directory / "checkpoints" / "4.npz"
    whole = last.read_bytes()
    again = unspool.Run.open(tmp_path / "run")
    list(again.train(*settings, num_updates=4, resume_from=2, **options))
    assert last.read_bytes() == whole
