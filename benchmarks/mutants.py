"""How many mistakes the tests notice: each is made in a copy of the library, and tests are run.

    python benchmarks/mutants.py FILE.json [--only WORD] [--seed N] [--most N] [--again]
                                           [--by TEST ...]

Needs what `make coverage` leaves behind, from which it knows the tests that run a line. They are
run in an order that finds out soon: first those that have noticed other mistakes in the same file,
then those that stand beside them, then quick ones. FILE keeps what is known, so that a run that was
stopped goes on; another seed wants another file. `--most` is for a first look, at fewer tests;
`--again` tries survivors once more, with `--by` on new tests alone, or files of them. A test counts
for having noticed a mistake only if it passes without it. Ends with the survivors and a table.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutant_parts.covering import Covering
from mutant_parts.equivalent import EQUIVALENT
from mutant_parts.mutant import Mutant, number
from mutant_parts.operators import mutants_of
from mutant_parts.planted import PLANTED
from mutant_parts.results import Results, reasons, table

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/unspool")
ROOMS = {
    "estimators": (40, "_estimator", "*"),
    "engines": (
        16,
        "_engine",
        "base local check_problem sum_losses masked completed forwarding map_problem wrap",
    ),
    "steps that tell": (6, "_immediate", "*"),
    "host": (
        14,
        "_engine",
        "host* executor local_executor runner make_runner segment simulators try_out returned "
        "callback failures",
    ),
    "Ray": (8, "_engine/ray", "*"),
    "rows and keys": (
        12,
        ".",
        "_rows _random _counts _params _wrapper _problem _episodes _black_box _reduce_rank "
        "_small_svd",
    ),
    "training": (
        18,
        ".",
        "_joint _train _make_step _meter _updates _pieces _limits _failure_rate _optimizer",
    ),
    "programs": (10, ".", "_programs _frozen _guards _memory _cache"),
    "evaluation": (4, ".", "_evaluate"),
    "test of bias": (16, ".", "_check_unbiased _chains _verdict _student _reference"),
    "runs and checkpoints": (
        14,
        ".",
        "_checkpoint _run _run_files _best _logger _lines _lock _describe",
    ),
    "export": (8, "export", "*"),
    "schedules": (10, "problems/schedules", "*"),
    "learned optimizers": (14, "problems/learned_optimizer", "*"),
    "closed forms": (8, "problems", "*"),
    "control": (8, "problems/control", "*"),
    "data": (4, "data", "*"),
    "command line": (8, "cli", "*"),
    "reports": (8, "_report", "*"),
    "experiments": (6, "experiments", "*"),
    "past the published": (6, "experiments/beyond", "*"),
    "published experiments": (6, "experiments/published", "**/*"),
}
"""How many generated mutants each room has by default, and its files."""

BATCHES = 8, 40, 200
"""So many tests are run together, then so many, and at last all that are left."""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="", help="a word in the name of a mutant, or a room")
    parser.add_argument("--seed", type=int, default=0, help="which generated mutants")
    parser.add_argument("--again", action="store_true", help="try survivors once more")
    parser.add_argument("--most", type=int, default=10**6, help="tests to try on each")
    parser.add_argument("--by", nargs="+", metavar="TEST", help="the tests to run")
    options = parser.parse_args()
    covering = Covering(ROOT, ROOT / ".coverage", ROOT / ".tests.xml")
    if options.by:
        covering.choose(options.by)
    results = Results(options.file)
    waiting = []
    for room, mutants in all_mutants(options.seed).items():
        for mutant in mutants:
            results.enter(mutant, room, mutant.diff(ROOT))
            if options.only in mutant.name or options.only == room:
                if results.wants(mutant, options.again) and mutant.name not in EQUIVALENT:
                    waiting.append(mutant)
    random.Random(0).shuffle(waiting)
    print(f"{len(waiting)} mutants are to be tried", flush=True)
    # One more than there are processors: what hangs or waits for actors takes no time.
    copies = (os.cpu_count() or 1) + 1
    with ThreadPoolExecutor(copies) as pool:
        job = waiting, covering, results, options.most
        for one in [pool.submit(work, *job) for _ in range(copies)]:
            one.result()
    print("\n\n".join(results.survivors(EQUIVALENT)))
    print(table(results.lines, EQUIVALENT), reasons(EQUIVALENT), sep="\n\n")


def all_mutants(seed: int) -> dict[str, list[Mutant]]:
    """Planted and generated mutants, by room."""
    found = {}
    for room, (count, _, _) in ROOMS.items():
        paths = files_of(room)
        names = [str(path.relative_to(ROOT / SOURCE)) for path in paths]
        planted = [planted_at(*each) for each in PLANTED if each[0] in names]
        by_kind: dict[str, list[Mutant]] = {}
        for path in paths:
            for mutant in mutants_of(str(path.relative_to(ROOT)), path.read_text()):
                by_kind.setdefault(mutant.kind, []).append(mutant)
        generator, generated = random.Random(f"{seed} {room}"), []
        # Every kind has its turn: there are more arguments than signs.
        while len(generated) < count and any(by_kind.values()):
            kind = generator.choice(sorted(kind for kind, left in by_kind.items() if left))
            left = by_kind[kind]
            mutant = left.pop(generator.randrange(len(left)))
            if mutant.name not in {x.name for x in planted}:
                generated.append(mutant)
        found[room] = number(planted) + generated
    return found


def files_of(room: str) -> list[Path]:
    _, folder, names = ROOMS[room]
    found = {x for y in names.split() for x in (ROOT / SOURCE / folder).glob(f"{y}.py")}
    return sorted(found)


def planted_at(name: str, before: str, after: str) -> Mutant:
    path = SOURCE / name
    content = (ROOT / path).read_text()
    if content.count(before) != 1:
        raise SystemExit(f"{path} must have once, for a mutant to be planted:\n{before}")
    start = len(content[: content.index(before)].encode())
    line = content[: content.index(before)].count("\n") + 1
    code = content.splitlines()[line - 1].strip()
    return Mutant(str(path), line, code, before, after, "planted", start)


def work(waiting: list[Mutant], covering: Covering, results: Results, most: int) -> None:
    """Tries one mutant after the other, in a copy of the project."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for file in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
            if (ROOT / file).is_file():
                (tree / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, tree / file)
        tests = Tests(tree)
        while waiting:
            try:
                mutant = waiting.pop()
            except IndexError:
                break
            whole = (ROOT / mutant.path).read_bytes()
            (tree / mutant.path).write_bytes(mutant.change(whole))
            outcome = try_one(mutant, tests, covering, results, most)
            (tree / mutant.path).write_bytes(whole)
            noticed = outcome.pop("noticed", [])
            if not tests.pass_as_they_are(noticed):
                print(f"fails without any mistake, and is not asked: {outcome['by']}", flush=True)
                covering.leave_out(noticed)
                waiting.append(mutant)
                continue
            results.note(mutant, **outcome)
            print(f"{outcome['status']:9s} {outcome['tests']:4d} tests  {mutant.name}", flush=True)
        tests.close()


def try_one(
    mutant: Mutant, tests: "Tests", covering: Covering, results: Results, most: int
) -> dict:
    """What becomes of a mutant: it is killed by a test, hangs, or survives."""
    seconds = covering.seconds
    kills = Counter(results.killers(mutant.path))
    # Of a test's neighbors: in this file, and in those beside it.
    file_of = lambda test: test.partition("::")[0]
    near = Counter(map(file_of, kills.elements()))
    far = Counter(map(file_of, results.killers(str(Path(mutant.path).parent))))
    rank = lambda test: (-kills[test], -near[file_of(test)], -far[file_of(test)], seconds[test])
    order = sorted(covering.tests_of(mutant), key=rank)[:most]
    done = 0
    for size in (*BATCHES, len(order)):
        batch = order[done : done + size]
        if not batch:
            break
        limit = 120 + 10 * sum(seconds[test] for test in batch)
        status, printed = tests.run(batch, limit)
        done += len(batch)
        if status == 124:
            return {"status": "hung", "tests": done, "by": batch[0], "noticed": batch}
        if status != 0:
            ends = [x for x in printed.splitlines() if x.startswith(("FAILED ", "ERROR "))]
            failed = [line.split(" ", 1)[1].partition(" - ")[0] for line in ends]
            by = failed[0] if failed else printed.strip().splitlines()[-1][:200]
            noticed = [by] if by in batch else batch
            return {"status": "killed", "tests": done, "by": by, "noticed": noticed}
    return {"status": "survived" if order else "not run", "tests": done, "by": ""}


class Tests:
    """The tests of a copy of the project, run from a process that is warm already."""

    def __init__(self, tree: Path):
        self._tree = tree
        script = Path(__file__).parent / "mutant_parts/warm.py"
        # Most programs are those of the run before.
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(tree / ".programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(tree)],
            env=os.environ | cache,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._sound: set[str] = set()

    def run(self, tests: list[str], seconds: float) -> tuple[int, str]:
        """The status of pytest and what it has printed."""
        self._process.stdin.write(json.dumps({"tests": tests, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["status"], answer["printed"].replace(f"{self._tree}/", "")

    def pass_as_they_are(self, tests: list[str]) -> bool:
        """Whether they pass where nothing is changed; each is asked once."""
        left = [test for test in tests if test not in self._sound]
        if left and self.run(left, 3600)[0] != 0:
            return False
        self._sound.update(left)
        return True

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    main()
