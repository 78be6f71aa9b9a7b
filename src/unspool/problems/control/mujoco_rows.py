"""Many states of one MuJoCo model, advanced at once."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Rows = Float[np.ndarray, "rows numbers"]
"""Full states, as MuJoCo lays them out: one in each row."""


def use_headless_rendering() -> None:
    """Has MuJoCo draw where there is no screen; it asks once, as it is first imported."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")


def import_mujoco() -> tuple[ModuleType, Path]:
    """The module, and the folder of the models that come with Gymnasium.

    **Raises:** `ImportError` if one of the two is missing.
    """
    use_headless_rendering()
    # Here and not above: who has other problems need not have them.
    try:
        import gymnasium
        import mujoco.batch
    except ImportError as error:
        raise ImportError(
            "this problem needs MuJoCo and the models of Gymnasium, which are not there: "
            "pip install 'unspool[control]'"
        ) from error
    return mujoco, Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


def load_model(file: str) -> Any:
    """A model of Gymnasium's by the name of its file."""
    mujoco, folder = import_mujoco()
    handler = mujoco.get_mju_user_warning()
    # A model that is written in an old way would otherwise say so on every start, and in a file.
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        return mujoco.MjModel.from_xml_path(str(folder / file))
    finally:
        mujoco.set_mju_user_warning(handler)


class Advanced(NamedTuple):
    """The result of `MujocoRows.advance`.

    - `rows`: the states after the steps.
    - `carried`: the fields that are carried with them.
    - `lost`: a mask of the rows whose simulation MuJoCo began anew, since its numbers had grown
      beyond all bounds; None if there are none.
    """

    rows: Rows
    carried: dict[str, np.ndarray]
    lost: Bool[np.ndarray, " rows"] | None


class MujocoRows:
    """Advances states of a model. They are given and returned, and none is kept.

    What each row comes to does not depend on the others, nor on the number of threads. Not for
    several callers at a time.

    - `carried`: names of `MjData` fields that are wanted with every state, as they are after
      `mj_step` and `mj_rnePostConstraint`.
    """

    def __init__(self, model: Any, num_threads: int | None, carried: Sequence[str] = ()):
        self.model = model
        self.carried = tuple(carried)
        self._num_threads = num_threads or _num_cores()
        self._batch: Any = None
        self._data: Any = None
        mujoco, _ = import_mujoco()
        self._full_state = mujoco.mjtState.mjSTATE_INTEGRATION
        self.positions = self._state_slice(mujoco.mjtState.mjSTATE_QPOS)
        self.velocities = self._state_slice(mujoco.mjtState.mjSTATE_QVEL)
        self._controls = self._state_slice(mujoco.mjtState.mjSTATE_CTRL)
        warnings = mujoco.mjtWarning
        # These three have MuJoCo begin the simulation anew. They have numbers in a row.
        self._fatal = slice(int(warnings.mjWARN_BADQPOS), int(warnings.mjWARN_BADQACC) + 1)

    def begin(
        self,
        positions: Float[np.ndarray, "rows positions"],
        velocities: Float[np.ndarray, "rows velocities"],
    ) -> tuple[Rows, dict[str, np.ndarray]]:
        """The states of these positions and velocities, and what is carried with them."""
        mujoco, _ = import_mujoco()
        num_rows = len(positions)
        ids = self._ensure_capacity(num_rows)
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        state = self._batch.state[:num_rows]
        state[:, self.positions], state[:, self.velocities] = positions, velocities
        self._batch.forward(ids)
        return state.copy(), self._carry(num_rows, after_step=False)

    def advance(
        self, rows: Rows, controls: Float[np.ndarray, "rows controls"], num_steps: int
    ) -> Advanced:
        """The states after so many steps, what is carried with them, and which rows were lost."""
        num_rows = len(rows)
        ids = self._ensure_capacity(num_rows)
        batch = self._batch
        state = batch.state[:num_rows]
        state[:] = rows
        state[:, self._controls] = controls
        batch.step(ids, num_steps)
        lost = None
        if batch.warning.any():
            lost = batch.warning[:num_rows, self._fatal, 1].any(1)
            batch.warning[:] = 0
        carried = self._carry(num_rows, after_step=True)
        return Advanced(rows=state.copy(), carried=carried, lost=lost)

    def data_of(self, row: Float[np.ndarray, " numbers"]) -> Any:
        """An `MjData` of one state, with all that follows from it."""
        mujoco, _ = import_mujoco()
        data = mujoco.MjData(self.model)
        mujoco.mj_setState(self.model, data, row, self._full_state)
        mujoco.mj_forward(self.model, data)
        return data

    def _state_slice(self, component: Any) -> slice:
        """The slice of a component in a state: after all those whose bits are lower."""
        mujoco, _ = import_mujoco()
        start = mujoco.mj_stateSize(self.model, int(self._full_state) & (int(component) - 1))
        return slice(start, start + mujoco.mj_stateSize(self.model, int(component)))

    def _ensure_capacity(self, num_rows: int) -> np.ndarray | None:
        """The row ids to pass to a call, after making the batch larger if it is too small."""
        if self._batch is None or num_rows > self._batch.nsim:
            mujoco, _ = import_mujoco()
            # Whole simulations are kept only where more than their states is asked of them.
            self._batch = mujoco.batch.Batch(
                self.model, num_rows, self._num_threads, persistent=bool(self.carried)
            )
            self._data = mujoco.MjData(self.model)
            self._ids = np.arange(num_rows, dtype=np.int32)
        return None if num_rows == self._batch.nsim else self._ids[:num_rows]

    def _carry(self, num_rows: int, after_step: bool) -> dict[str, np.ndarray]:
        if not self.carried:
            return {}
        mujoco, _ = import_mujoco()
        shape = lambda name: (num_rows, *getattr(self._data, name).shape)
        found = {name: np.empty(shape(name)) for name in self.carried}
        fields = [(rows, getattr(self._data, name)) for name, rows in found.items()]
        for i in range(num_rows):
            self._batch.get_data(i, self._data)
            if after_step:
                mujoco.mj_rnePostConstraint(self.model, self._data)
            for rows, field in fields:
                rows[i] = field
        return found


def _num_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
