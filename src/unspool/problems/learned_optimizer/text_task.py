"""Tasks of predicting the next character of a text."""

import numpy as np

from .._check import check_integer
from ..schedules import Data
from .character_lm import CharacterLM
from .classifier import classifier
from .image_task import task_name
from .network import AbstractNetwork
from .task import Task


def text_task(
    text: str,
    network: AbstractNetwork | None = None,
    length: int = 64,
    batch_size: int = 32,
    clip: float | None = None,
) -> Task:
    """Makes the `Task` of predicting every next character of a text, whose last fifth is held out.

    Both parts are cut into segments, one after the other, of which a batch has some. Each is read
    from the same state, and every character in it predicted from those before. Characters are
    numbered in the order of their code points.

    **Arguments:**

    - `text`: what is read, `unspool.data.text("book.txt")` for instance.
    - `network`: what is trained; by default `CharacterLM` with as many characters as there are.
    - `length`: predictions in a segment.
    - `batch_size`: segments in a batch, to train on or held out, drawn with replacement.
    - `clip`: as in `classifier`, of every prediction.

    **Raises:** `ValueError` for a text whose last fifth has no whole segment, or a network with
    less classes than there are characters.

    **Example:**

    >>> from unspool.problems.learned_optimizer import text_task
    >>> task = text_task("to be or not to be, " * 40, length=16)
    >>> task.data.train[0].shape, task.data.valid[0].shape  # stretches of 16 characters
    ((39, 16), (9, 16))
    """
    check_integer("length", length)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    characters, codes = np.unique(points, return_inverse=True)
    count = len(text) - len(text) * 4 // 5
    if count < length + 1:
        raise ValueError(
            f"text must have at least {5 * length + 1} characters, for a segment of {length + 1} "
            f"in its last fifth, got {len(text)}"
        )
    if network is None:
        network = CharacterLM(len(characters))
    elif network.num_classes < len(characters):
        raise ValueError(
            f"network must have at least {len(characters)} classes, one for each character of the "
            f"text, got {network.num_classes}; the nearest legal value is {len(characters)}"
        )
    network.check_inputs((length,))
    codes = codes.astype(np.min_scalar_type(len(characters) - 1))
    train, valid = (_segments(part, length) for part in np.split(codes, [len(text) * 4 // 5]))
    model = classifier(network, clip=clip)
    return Task(model, Data(train, valid, batch_size), task_name(network, batch_size))


def _segments(codes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets: segments of the text, and the same one character later, in rows."""
    count = (len(codes) - 1) // length
    read, following = codes[: count * length], codes[1 : count * length + 1]
    return read.reshape(count, length), following.reshape(count, length)
