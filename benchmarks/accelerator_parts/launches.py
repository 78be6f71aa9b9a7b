"""How many kernels a compiled program starts, by its text."""

import re
from typing import NamedTuple

# Instructions that are bookkeeping of the compiler, or the end of one that was counted.
FREE = {
    "add-dependency", "after-all", "async-done", "async-update", "bitcast", "constant",
    "copy-done", "domain", "get-tuple-element", "opt-barrier", "parameter", "partition-id",
    "replica-id", "tuple",
}  # fmt: skip
COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{\s*$")
TRIP_COUNT = re.compile(r'"known_trip_count":\s*\{"n":\s*"(\d+)"')


class Instruction(NamedTuple):
    opcode: str
    text: str

    def called(self, attribute):
        """The name of the computation in an attribute."""
        found = re.search(rf"\b{attribute}=%?([\w.-]+)", self.text)
        return found.group(1) if found else None

    @property
    def branches(self):
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.text)
        if listed:
            return [name.strip().lstrip("%") for name in listed.group(1).split(",")]
        return [self.called("true_computation"), self.called("false_computation")]


def count_launches(text):
    """Kernels that one update starts in a loop of updates, or `None` where the text does not say.

    The loop of updates is the one whose number of rounds is not known to the compiler. Of branches
    the longer one counts. A device may start several kernels at once, as CUDA graphs do: this is
    the number of kernels, and so the most launches there can be.
    """
    computations, entry = parse(text)
    loops = [x for x in computations.get(entry, ()) if x.opcode == "while"]
    loops = [x for x in loops if not TRIP_COUNT.search(x.text)]
    if len(loops) != 1:
        return None
    return kernels_of(computations, loops[0].called("body"))


def parse(text):
    """The instructions of each computation, and the name of the first computation to run."""
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        if current is None:
            if found := COMPUTATION.match(line):
                current = computations.setdefault(found.group(2), [])
                entry = found.group(2) if found.group(1) else entry
        elif line.startswith("}"):
            current = None
        elif " = " in line:
            after = line.split(" = ", 1)[1]
            current.append(Instruction(opcode_of(after), after))
    return computations, entry


def opcode_of(text):
    """What stands between the type of the result, which may be a tuple, and the operands."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == " " and depth == 0:
            return text[index + 1 :].split("(", 1)[0]
    return ""


def kernels_of(computations, name):
    """Kernels started by a computation, loops and branches in it included."""
    if name not in computations:
        return None
    counts = [kernels_of_one(computations, x) for x in computations[name]]
    return None if None in counts else sum(counts)


def kernels_of_one(computations, instruction):
    opcode = instruction.opcode
    if opcode in FREE:
        return 0
    if opcode == "while":
        rounds = TRIP_COUNT.search(instruction.text)
        parts = [kernels_of(computations, instruction.called(x)) for x in ("body", "condition")]
        return None if rounds is None or None in parts else int(rounds.group(1)) * sum(parts)
    if opcode == "conditional":
        parts = [kernels_of(computations, branch) for branch in instruction.branches]
        return None if None in parts else max(parts)
    if opcode == "call":
        return kernels_of(computations, instruction.called("to_apply"))
    return 1
