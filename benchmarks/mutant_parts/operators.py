"""Mistakes that can be made at any place: a sign, a comparison, an index, a branch."""

import ast
import bisect
from collections.abc import Iterator

from .mutant import Mutant, number

_TOKENS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}

_NAMES = {
    "min": "max",
    "minimum": "maximum",
    "floor": "ceil",
    "any": "all",
    "ones": "zeros",
    "ones_like": "zeros_like",
    "argmin": "argmax",
    "mean": "sum",
}
_SWAPS = _NAMES | {new: old for old, new in _NAMES.items()}
_SYMMETRIC = ("min", "max", "minimum", "maximum", "add", "multiply", "vdot", "isinstance")
_SILENT = (ast.Raise, ast.Import, ast.ImportFrom, ast.Assert, ast.JoinedStr)


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All mutants of a file, in the order of the places that they change."""
    found = list(_Finder(path, source).visit(ast.parse(source)))
    return number(sorted(found, key=lambda mutant: (mutant.start, mutant.after)))


class _Finder(ast.NodeVisitor):
    """Messages, annotations and imports are left alone: no behavior depends on them."""

    def __init__(self, path: str, source: str):
        self.path, self.content = path, source.encode()
        self.starts = [0]
        for line in self.content.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def visit(self, node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, _SILENT):
            return
        mine = getattr(self, f"of_{type(node).__name__}", None)
        if mine:
            yield from mine(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.visit(child)

    def of_Compare(self, node):
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            yield from self.between(left, right, op, "comparison")
            left = right

    def of_BinOp(self, node):
        # Types are joined by `|`, which does nothing when the program runs.
        yield from self.between(node.left, node.right, node.op, "operator")

    def of_AugAssign(self, node):
        yield from self.between(node.target, node.value, node.op, "operator")

    def of_BoolOp(self, node):
        yield from self.between(node.values[0], node.values[1], node.op, "condition")

    def of_UnaryOp(self, node):
        start, operand = self.at(node), self.at(node.operand)
        sign = self.content[start:operand].decode()
        if sign.strip() in ("-", "~", "not"):
            yield self.change(start, sign, "", "sign" if sign == "-" else "condition")

    def of_Constant(self, node):
        value, text = node.value, self.text(node)
        if isinstance(value, bool):
            yield self.change(self.at(node), text, str(not value), "constant")
        elif isinstance(value, int):
            yield self.change(self.at(node), text, str(value + 1), "constant")
        elif isinstance(value, float):
            yield self.change(self.at(node), text, repr(2 * value if value else 1.0), "constant")

    def of_If(self, node):
        yield self.negated(node.test)

    def of_While(self, node):
        yield self.negated(node.test)

    def of_IfExp(self, node):
        yield self.negated(node.test)

    def of_Call(self, node):
        yield from self.renamed(node.func)
        for keyword in node.keywords:
            if keyword.arg is None:
                continue
            start, end = self.at(keyword), self.end(keyword)
            # With the comma before it, or if it is the first argument the one behind.
            before = self.content[:start].rstrip()
            if before.endswith(b","):
                start = len(before) - 1
            elif self.content[end : end + 1] == b",":
                end += 1
            yield self.change(start, self.content[start:end].decode(), "", "argument")
        name = self.text(node.func).rpartition(".")[2]
        pairs = [] if name in _SYMMETRIC else zip(node.args, node.args[1:], strict=False)
        for one, other in pairs:
            if isinstance(one, ast.Starred) or isinstance(other, ast.Starred):
                continue
            start, end = self.at(one), self.end(other)
            gap = self.content[self.end(one) : self.at(other)].decode()
            swapped = self.text(other) + gap + self.text(one)
            yield self.change(start, self.content[start:end].decode(), swapped, "argument")

    def of_Expr(self, node):
        if isinstance(node.value, ast.Call):
            yield self.change(self.at(node), self.text(node), "pass", "statement")

    def between(self, left, right, op, kind):
        if type(op) not in _TOKENS:
            return
        before, after = _TOKENS[type(op)]
        start = self.content.find(before.encode(), self.end(left), self.at(right))
        if start >= 0:
            yield self.change(start, before, after, kind)

    def negated(self, test):
        text = self.text(test)
        return self.change(self.at(test), text, f"not ({text})", "condition")

    def renamed(self, function):
        name = function.attr if isinstance(function, ast.Attribute) else self.text(function)
        if name in _SWAPS:
            start = self.end(function) - len(name)
            yield self.change(start, name, _SWAPS[name], "function")

    def change(self, start, before, after, kind):
        line = bisect.bisect_right(self.starts, start)
        code = self.content[self.starts[line - 1] : self.starts[line]].decode().strip()
        return Mutant(self.path, line, code, before, after, kind, start)

    def at(self, node) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node) -> int:
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node) -> str:
        return self.content[self.at(node) : self.end(node)].decode()
