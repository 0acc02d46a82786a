"""The kernels of a compiled program: what a first call waits for, and which code asks for them.

XLA's compiler for CPUs makes of each kernel outside of any fusion (a fusion, a small loop, a sort) a module of its own
and compiles it, in 5 to 8 ms whatever it does; kernels with the same text are compiled once.  Copies between the states
of loops, calls of LAPACK and what XLA hands to a library (its custom fusions) are not compiled, but run.
"""

import collections
import re
from typing import NamedTuple

# Instructions of optimised HLO that run no code themselves.
FREE = {"parameter", "get-tuple-element", "tuple", "constant", "bitcast", "while", "call", "conditional", "after-all"}
READY = {"copy", "custom-call"}  # run, but need no compiling
SMALL = 'xla_cpu_small_call="true"'  # a small loop, which XLA compiles as one kernel

_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = (.*?) ([a-z][\w-]*)\(")
_WITHIN = re.compile(r"(?:body|condition|to_apply|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


class Kernels(NamedTuple):
    """The number of kernels that run, of those that are compiled, of copies, and {place: compiled}.

    A place is "file:function" in the package, from the innermost frame that is in it; "XLA" for what has none.
    """

    executed: int
    compiled: int
    copies: int
    places: dict

    def __add__(self, other):
        places = dict(collections.Counter(self.places) + collections.Counter(other.places))
        return Kernels(*(a + b for a, b in zip(self[:3], other[:3], strict=True)), places)


NONE = Kernels(0, 0, 0, {})


def count(text):
    """The `Kernels` of optimised HLO."""
    computations, entry = _computations(text)
    place, digests = _places(text), {}
    seen, visited, found = set(), {entry}, collections.Counter()
    places = collections.Counter()

    def visit(name):
        for line in computations[name]:
            kind, operation = _INSTRUCTION.match(line).groups()
            within = _WITHIN.findall(line) if operation in ("while", "call", "conditional") else []
            if branches := _BRANCHES.search(line):
                within += [branch.strip().lstrip("%") for branch in branches[1].split(",")]
            called = within if operation == "call" and SMALL in line else re.findall(r"calls=%?([\w.-]+)", line)
            if called:
                key = operation, kind, _digest(called[0], computations, digests)
            elif operation in FREE:
                for inner in within:
                    if inner not in visited:
                        visited.add(inner)
                        visit(inner)
                continue
            else:
                key = operation, _text(line, computations, digests)
            found["executed"] += 1
            found["copies"] += operation == "copy"
            ready = operation in READY or "kind=kCustom" in line
            if not ready and key not in seen:
                places[place(line)] += 1
            seen.add(key)

    if entry:
        visit(entry)
    return Kernels(found["executed"], sum(places.values()), found["copies"], dict(places))


def _computations(text):
    """{computation: lines of its instructions}, and the name of the entry."""
    found, lines, entry = {}, [], None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            lines = found[head[2]] = []
            entry = head[2] if head[1] else entry
        elif _INSTRUCTION.match(line):
            lines.append(line)
    return found, entry


def _text(line, computations, digests, names=None):
    """An instruction without its name, its origin and the names of its operands."""
    names = {} if names is None else names
    line = re.sub(r", metadata=\{[^}]*\}|, (?:backend_config|frontend_attributes)=.*$", "", line.strip())

    def rename(match):
        if match[1] in computations:
            return str(_digest(match[1], computations, digests))
        return f"%{names.setdefault(match[1], len(names))}"

    return re.sub(r"%([\w.-]+)", rename, line)


def _digest(name, computations, digests):
    """The same number for computations of the same text."""
    if name not in digests:
        names = {}
        digests[name] = hash(tuple(_text(line, computations, digests, names) for line in computations[name]))
    return digests[name]


def _places(text):
    """A function from an instruction to its place."""

    def table(title, pattern):
        section = re.search(rf"^{title}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
        return re.findall(pattern, section[1], re.MULTILINE) if section else []

    files, names = (dict(table(title, r'^(\d+) "(.*)"$')) for title in ("FileNames", "FunctionNames"))
    locations = {
        i: (files.get(file, ""), names.get(function, ""))
        for i, file, function in table("FileLocations", r"^(\d+) \{file_name_id=(\d+) function_name_id=(\d+)")
    }
    frames = {
        i: (locations.get(location, ("", "")), parent)
        for i, location, parent in table("StackFrames", r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?")
    }

    def place(line):
        frame = re.search(r"stack_frame_id=(\d+)", line)
        frame = frame and frame[1]
        while frame in frames:
            (file, function), parent = frames[frame]
            if "/jaxinfra/" in file:
                return f"{file.rpartition('/jaxinfra/')[2]}:{function.partition('.<locals>')[0]}"
            frame = parent if parent != frame else None
        return "XLA"

    return place
