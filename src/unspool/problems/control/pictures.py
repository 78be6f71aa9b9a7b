"""Pictures of MuJoCo models, drawn without a screen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .mujoco_rows import import_mujoco

_TORSO = 1


class View(NamedTuple):
    """Camera that follows the torso: its distance in meters, and two angles in degrees."""

    distance: float = 4.0
    elevation: float = -20.0
    azimuth: float = 90.0


def draw(model: Any, frames: Sequence[Any], view: View, size: tuple[int, int]) -> list[np.ndarray]:
    """One picture of each of these `MjData`, as bytes of height x width x 3.

    **Raises:** `RuntimeError` where MuJoCo finds nothing to draw with.
    """
    mujoco, _ = import_mujoco()
    width, height = size
    model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
    model.vis.global_.offheight = max(height, model.vis.global_.offheight)
    camera = mujoco.MjvCamera()
    camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, _TORSO
    camera.distance, camera.elevation, camera.azimuth = view
    try:
        renderer = mujoco.Renderer(model, height, width)
    # Whatever a graphics library may raise: there are several, and they agree on nothing.
    except Exception as error:
        raise RuntimeError(
            f"MuJoCo cannot draw here ({error}): set MUJOCO_GL to egl, osmesa or glfw, whichever "
            "is installed, before Python starts"
        ) from error
    pictures = []
    try:
        for data in frames:
            renderer.update_scene(data, camera)
            pictures.append(renderer.render().copy())
    finally:
        renderer.close()
    return pictures
