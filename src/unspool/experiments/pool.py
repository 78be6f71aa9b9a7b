"""A pool of processes that run a list of tasks, and report what they have done."""

import io
import multiprocessing
import multiprocessing.connection
import pickle
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .._config.load_object import load_object, name_of_own
from .._threads import use_one_thread

Task = tuple[Any, ...]
TaskFunction = Callable[..., Iterable[Any]]


class TaskMessage(NamedTuple):
    """A message from a task."""

    task: int
    message: Any


class TaskFailed(NamedTuple):
    """A task failed with an error."""

    task: int
    reason: str


class _TaskDone(NamedTuple):
    """A task is done, successfully or not."""

    task: int


def run_tasks(
    function: TaskFunction, tasks: Sequence[Task], num_processes: int
) -> Generator[TaskMessage | TaskFailed, None, None]:
    """Runs `function(*task)` for every task, in order, so many at a time.

    With one process the tasks run in this one. Otherwise processes are spawned, each with one
    thread for XLA; they end when this generator is closed. A task that raises an error, or takes
    its process down, is reported as `TaskFailed`, and the others go on.

    Classes and functions of a file of the user's, such as an experiment, go to another process by
    the name of the file, which is run there.
    """
    if num_processes == 1:
        for index, task in enumerate(tasks):
            yield from _run_task(function, index, task)
        return
    workers: list[_Worker] = []
    waiting = list(range(len(tasks)))
    try:
        while waiting or workers:
            while waiting and len(workers) < num_processes:
                workers.append(_Worker(function, tasks))
                workers[-1].assign(waiting)
            connections = [worker.connection for worker in workers]
            ready = multiprocessing.connection.wait(connections)
            for worker in [worker for worker in workers if worker.connection in ready]:
                message = worker.receive()
                if not isinstance(message, _TaskDone):
                    yield message
                if worker.is_gone or isinstance(message, _TaskDone) and not worker.assign(waiting):
                    workers.remove(worker)
                    worker.stop()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that is assigned one task after the other, seen from outside."""

    def __init__(self, function: TaskFunction, tasks: Sequence[Task]):
        context = multiprocessing.get_context("spawn")
        work = _pickle((function, tasks))
        self.connection, theirs = context.Pipe()
        self.is_gone = False
        self._task = -1
        self._process = context.Process(target=_worker_loop, args=(work, theirs), daemon=True)
        self._process.start()
        # With no copy of its end left here, the process's death is the end of the file.
        theirs.close()

    def assign(self, waiting: list[int]) -> bool:
        """Assigns the first of the waiting tasks; True if there is one."""
        if waiting:
            self._task = waiting.pop(0)
            self.connection.send(self._task)
            return True
        return False

    def receive(self) -> "TaskMessage | TaskFailed | _TaskDone":
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.is_gone = True
            return TaskFailed(self._task, "its process was killed")

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()


class _Pickler(pickle.Pickler):
    """Names the file that an object of the user's lies in, for another process to load it from."""

    def reducer_override(self, value: Any) -> Any:
        name = name_of_own(value)
        return NotImplemented if name is None else (load_object, (name,))


def _pickle(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def _worker_loop(work: bytes, connection) -> None:
    """The loop of a process, until it is stopped or the one that started it has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_one_thread()
    function, tasks = pickle.loads(work)
    try:
        while True:
            index: int = connection.recv()
            for message in _run_task(function, index, tasks[index]):
                connection.send(message)
            connection.send(_TaskDone(index))
    except (EOFError, BrokenPipeError):
        return


def _run_task(function: TaskFunction, index: int, task: Task) -> Iterator[TaskMessage | TaskFailed]:
    try:
        for message in function(*task):
            yield TaskMessage(index, message)
    except Exception as error:
        yield TaskFailed(index, f"{type(error).__name__}: {error}")
