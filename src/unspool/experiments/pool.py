"""Processes that work through a list of tasks, and tell what they have done."""

import multiprocessing
import multiprocessing.connection
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .._threads import use_one_thread

Task = tuple[Any, ...]
Perform = Callable[..., Iterable[Any]]


class Told(NamedTuple):
    """A message of a task."""

    task: int
    message: Any


class Failed(NamedTuple):
    """A task ended with an error."""

    task: int
    reason: str


class _Ended(NamedTuple):
    """A task has ended, well or not."""

    task: int


def work_through(
    perform: Perform, tasks: Sequence[Task], num_processes: int
) -> Generator[Told | Failed, None, None]:
    """Performs `perform(*task)` for every task, in order, so many at a time.

    With one process the tasks run in this one. Otherwise processes are spawned, each with one
    thread for XLA; they end when this generator is closed. A task that raises an error, or takes
    its process down, is told as `Failed`, and the others go on.
    """
    if num_processes == 1:
        for index, task in enumerate(tasks):
            yield from _perform(perform, index, task)
        return
    workers: list[_Worker] = []
    waiting = list(range(len(tasks)))
    try:
        while waiting or workers:
            while waiting and len(workers) < num_processes:
                workers.append(_Worker(perform, tasks))
                workers[-1].take(waiting)
            connections = [worker.connection for worker in workers]
            ready = multiprocessing.connection.wait(connections)
            for worker in [worker for worker in workers if worker.connection in ready]:
                message = worker.listen()
                if not isinstance(message, _Ended):
                    yield message
                if worker.is_gone or isinstance(message, _Ended) and not worker.take(waiting):
                    workers.remove(worker)
                    worker.stop()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that is handed one task after the other, seen from outside."""

    def __init__(self, perform: Perform, tasks: Sequence[Task]):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.is_gone = False
        self._task = -1
        self._process = context.Process(target=_work, args=(perform, tasks, theirs), daemon=True)
        self._process.start()
        # With no copy of its end left here, the process's death is the end of the file.
        theirs.close()

    def take(self, waiting: list[int]) -> bool:
        """Hands over the first of the waiting tasks, if there is one."""
        if waiting:
            self._task = waiting.pop(0)
            self.connection.send(self._task)
            return True
        return False

    def listen(self) -> "Told | Failed | _Ended":
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.is_gone = True
            return Failed(self._task, "its process was killed")

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _work(perform: Perform, tasks: Sequence[Task], connection) -> None:
    """The life of a process: until it is stopped, or the one that started it has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_one_thread()
    try:
        while True:
            index: int = connection.recv()
            for message in _perform(perform, index, tasks[index]):
                connection.send(message)
            connection.send(_Ended(index))
    except (EOFError, BrokenPipeError):
        return


def _perform(perform: Perform, index: int, task: Task) -> Iterator[Told | Failed]:
    try:
        for message in perform(*task):
            yield Told(index, message)
    except Exception as error:
        yield Failed(index, f"{type(error).__name__}: {error}")
