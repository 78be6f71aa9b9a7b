"""Mutants that do what the library does, and why, by their names."""

_LEGAL = "a period that was legal would not have come here"
_SAME = (
    # A file, a line and its change, and why nothing depends on it.
    (
        "_estimator/influence.py",
        "whole = eqx.combine(after_state, after_rest): "
        "after_state, after_rest -> after_rest, after_state (0)",
        "no leaf is in both, so that their order does not matter",
    ),
    ("_estimator/tableau.py", "below = max(p for p in legal if p < period): < -> <= (0)", _LEGAL),
    ("_estimator/tableau.py", "above = min(p for p in legal if p > period): > -> >= (0)", _LEGAL),
    (
        "_student.py",
        "while two_sided(high, degrees) > 2 * upper_tail:: > -> >= (0)",
        "what is doubled once more is halved once more",
    ),
    (
        "_engine/sum_losses.py",
        "size = max(n for n in range(1, _BLOCK + 1) if num_steps % n == 0): == -> != (0)",
        "steps that are left over are run as well, by a program of their own",
    ),
    (
        "_estimator/rounding.py",
        "return offset + count(number, of_number) + count(block, of_block): + -> - (1)",
        "a sequence that runs backwards is as even",
    ),
    (
        "_estimator/rounding.py",
        "nearest = jnp.where(jnp.abs(total) < float(kind.tiny), even, nearest): < -> <= (0)",
        "the smallest normal number is rounded to itself by both",
    ),
    (
        "_engine/sum_losses.py",
        "size = size if size > _BLOCK // 4 else _BLOCK: > -> >= (0)",
        "a sum of other blocks is the same sum",
    ),
    (
        "_engine/local.py",
        "source = held[0] if num_steps > 1 else arms: > -> >= (0)",
        "what is held is what is there; one is slower",
    ),
    (
        "_engine/check_problem.py",
        "pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), "
        "strict=True): True -> False (0)",
        "trees of one structure have as many leaves",
    ),
    (
        "_memory.py",
        'return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}": < -> <= (0)',
        "a hundred is written the same way by both",
    ),
    (
        "_engine/completed.py",
        "self.engine.check(join(params, self.fixed)): self.engine.check(join(params, self.fixed)) "
        "-> pass (0)",
        "an engine is checked before it is completed",
    ),
    (
        "_engine/host_rows.py",
        "return ran, *_join(made, (self._segment.state, np.zeros(0))): zeros -> ones (0)",
        "none of them are none of them",
    ),
    (
        "_updates.py",
        "return compile_program(run, job, state, _as_int(0), donated=1): 0 -> 1 (0)",
        "of an argument that a program is compiled for only the type matters",
    ),
    (
        "problems/control/jax_environment.py",
        "action = jnp.zeros(self.environment.action_size): zeros -> ones (0)",
        "only the shapes are asked for that a step would return",
    ),
    (
        "problems/control/mujoco_rows.py",
        "return None if num_rows == self._batch.nsim else self._ids[:num_rows]: == -> != (0)",
        "simulations that nobody asked for are run as well, and not looked at",
    ),
)

EQUIVALENT = {f"src/unspool/{file}: {change}": why for file, change, why in _SAME}
