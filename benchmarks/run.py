"""What estimates cost, case by case, each in a process of its own.

    .venv/bin/python benchmarks/run.py [FILE.json] [--only WORD] [--peers PYTHON]

Prints a line per case and writes everything into the file. `flops` is the share of the multiply-add
peak of one core, measured in the same run, that the steps alone come to; `outside` the share of an
estimate that is not its unrolls. `--peers` is the interpreter of an environment with evosax, which
is then run side by side.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# Where a process lands on a shared machine changes its speed by a fifth, from start to end.
PROCESSES, LONG = 3, 14.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--peers")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_here(options.case)))
        return
    table = {"environment": start("environment"), "start-up": start("start-up"), "rows": {}}
    if options.peers and "lorenz NRES".startswith(options.only):
        table["evosax"] = side_by_side(options.peers)
    for name in start("names"):
        if options.only not in name:
            continue
        peak = start("floors")
        row = start_several(name)
        row["share_of_peak"] = row["flops_per_cpu_s"] / peak["flops_per_cpu_s"]
        table["rows"][name] = row | {"floors": peak}
        print(line(name, row), flush=True)
    print(start_up_line(table["start-up"]))
    if options.file:
        options.file.write_text(json.dumps(table, indent=1) + "\n")


def start(case, python=sys.executable, script=__file__):
    """The row of a case, from a process of its own."""
    command = [python, str(script), "--case", case]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def start_several(case):
    """The row of the middle one of three processes, or of one that takes long."""
    began, rows = time.perf_counter(), [start(case)]
    if time.perf_counter() - began < LONG:
        rows += [start(case) for _ in range(PROCESSES - 1)]
    rows.sort(key=lambda row: row["cpu_s"])
    all_times = [row["cpu_s"] for row in rows]
    return rows[len(rows) // 2] | {"cpu_s_of_processes": all_times}


def run_here(case):
    if case == "start-up":
        return start_up()
    from unspool._describe import environment
    from unspool._threads import use_one_thread

    # Before the first array is made, sigmas included.
    use_one_thread()
    from cases import cases
    from measure import floors, measure

    found = cases()
    if case == "names":
        return list(found)
    if case in ("environment", "floors"):
        return environment() if case == "environment" else floors()
    return measure(*found[case]())


def start_up():
    """The first estimate of a fresh process, which has to load and to compile everything."""
    began = time.perf_counter()
    import jax

    import unspool
    from unspool._threads import use_one_thread

    use_one_thread()
    loaded = time.process_time()
    problem, key = unspool.problems.Lorenz(), jax.random.key(0)
    params, estimator = problem.init_params(key=key), unspool.NRES(200, 100, 0.04)
    state = estimator.init(problem, params, key=key)
    jax.block_until_ready(estimator.estimate(problem, params, state))
    return {
        "import_cpu_s": loaded,
        "cpu_s": time.process_time(),
        "wall_s": time.perf_counter() - began,
    }


def side_by_side(python):
    """The published algorithm by evosax, in turns with ours, so that both see the same machine."""
    ours, theirs = [], []
    for _ in range(3):
        ours.append(start("lorenz NRES")["cpu_s"])
        theirs.append(start("lorenz", python, HERE / "evosax_lorenz.py")["cpu_s"])
    ratio = sorted(theirs)[1] / sorted(ours)[1]
    print(
        f"evosax, Lorenz: {1e3 * sorted(theirs)[1]:.3f} ms an update, {ratio:.1f} times ours",
        flush=True,
    )
    return {"cpu_s": theirs, "unspool_cpu_s": ours, "ratio": ratio}


def line(name, row):
    outside = "" if row["outside"] is None else f"{100 * row['outside']:3.0f} % outside"
    return (
        f"{name:45} {1e3 * row['cpu_s']:10.3f} ms CPU {1e3 * row['wall_s']:10.3f} ms wall "
        f"{row['steps_per_cpu_s']:9.3g} steps/s {100 * row['share_of_peak']:5.1f} % flops "
        f"{row['compile_cpu_s']:5.1f} s compile {row['state_bytes'] / 2**20:8.1f} + "
        f"{row['work_bytes'] / 2**20:7.1f} MiB {outside}"
    )


def start_up_line(row):
    return (
        f"import, compile, first estimate: {row['cpu_s']:.2f} CPU s ({row['import_cpu_s']:.2f} of "
        f"it imports), {row['wall_s']:.2f} s wall"
    )


if __name__ == "__main__":
    main()
