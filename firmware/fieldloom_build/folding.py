"""Puts constants where they are used: on a board a name in a module costs heap, and a constant in bytecode none. (F1)

A module keeps each of its names in memory while the board is on, as text and as an entry of its dictionary; so does
each module that imports one. A constant whose name begins with an underscore and whose value is `const(...)` costs
nothing: mpy-cross writes its value in its place. So, over all modules of a release together,

- a constant of a module, `NAME = 64` or `NAME = const(64)`, becomes `_NAME = const(64)`;
- `from package.module import NAME` becomes the same line, and `module.NAME` becomes `_NAME`;
- what is imported for mpy-cross and mypy alone, `const` and the types in annotations, is imported no more.

What a constant is: bound once in the module, at its top level, in capitals, to a number, a text, bytes, or an
expression of numbers. Texts are then compared by `==`: one that is used in two modules is no longer one object.
"""

import ast
from collections.abc import Iterator

Constants = dict[str, ast.expr]
FOR_TOOLS = "fieldloom_contract.compat", {"const", "Any"}
"""What a module imports of another one and a board never evaluates."""


def fold(sources: dict[str, str]) -> dict[str, str]:
    """Return modules, by their dotted names, with all constants folded and without docstrings.

    Raises ValueError where a name would have two values.
    """
    trees = {name: ast.parse(source) for name, source in sources.items()}
    constants = {name: dict(_constants(tree)) for name, tree in trees.items()}
    return {name: ast.unparse(_Module(name, constants).visit(tree)) for name, tree in trees.items()}


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    bound = _bound(tree)
    for line in tree.body:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)):
            continue
        name, value = line.targets[0].id, _value(line.value)
        if name.isupper() and bound.count(name) == 1 and (_is_number(value) or _is_text(value)):
            yield name, value


def _imported(block: ast.Try) -> set[str]:
    """Return the names that a block imports."""
    lines = [line for line in block.body if isinstance(line, ast.ImportFrom)]
    return {alias.name for line in lines for alias in line.names}


def _bound(tree: ast.Module) -> list[str]:
    """Return the names to which anything is assigned in a module, as often as that is."""
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _value(value: ast.expr) -> ast.expr:
    is_marked = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "const"
    return value.args[0] if is_marked and isinstance(value, ast.Call) else value


def _is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    return isinstance(value, ast.Constant) and isinstance(value.value, int)


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str | bytes)


class _Module(ast.NodeTransformer):
    """One module."""

    def __init__(self, name: str, constants: dict[str, Constants]) -> None:
        self._name = name
        self._constants = constants
        self._own = constants[name]
        self._modules: dict[str, str] = {}  # names of this module that stand for another one
        self._names: dict[str, tuple[str, str]] = {}  # names of this module that stand for another one's constant
        self._needed: Constants = {}  # the constants that it uses, by the names that they get here
        self._taken: set[str] = set()  # names that are something else here

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Fold what the lines use, and put it before them."""
        self._taken = set(_bound(node)) - set(self._own)
        self.generic_visit(node)
        lines = [_line(name, value) for name, value in self._needed.items()]
        node.body = [*lines, *(line for line in node.body if not _is_docstring(line))]
        return ast.fix_missing_locations(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Take the constants out of an import; one that brought nothing else goes."""
        kept = []
        for alias in node.names:
            bound, whole = alias.asname or alias.name, f"{node.module}.{alias.name}"
            if node.module == FOR_TOOLS[0] and alias.name in FOR_TOOLS[1]:
                continue
            if alias.name in self._constants.get(node.module or "", {}):
                if bound in self._taken or bound in self._own:
                    raise ValueError(f"{bound} would have two values in {self._name}")
                self._names[bound] = node.module or "", alias.name
                continue
            if whole in self._constants:
                self._modules[bound] = whole
            kept.append(alias)
        node.names = kept
        return node if kept else None

    def visit_Try(self, node: ast.Try) -> ast.Try | None:
        """Drop what makes the tools' names, where they are made."""
        made = _imported(node)
        if self._name == FOR_TOOLS[0] and made and made <= FOR_TOOLS[1]:
            return None
        self.generic_visit(node)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | None:
        """Drop the constant's own line: it comes back where it is used; and a list for `import *`, which none is."""
        target = node.targets[0]
        if isinstance(target, ast.Name) and (target.id in self._own or target.id == "__all__"):
            return None
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Use a constant, of this module or one that was imported."""
        if node.id in self._own:
            return self._use(node.id, self._own[node.id])
        if node.id in self._names:
            module, name = self._names[node.id]
            return self._use(name, self._constants[module][name])
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Use a constant by its module."""
        if isinstance(node.value, ast.Name) and node.value.id in self._modules:
            found = self._constants[self._modules[node.value.id]].get(node.attr)
            if found is not None:
                return self._use(node.attr, found)
        self.generic_visit(node)
        return node

    def _use(self, name: str, value: ast.expr) -> ast.Name:
        marked = "_" + name.lstrip("_")
        if marked in self._taken or ast.dump(self._needed.setdefault(marked, value)) != ast.dump(value):
            raise ValueError(f"{marked} would have two values in {self._name}")
        return ast.Name(marked, ast.Load())


def _line(name: str, value: ast.expr) -> ast.Assign:
    marked = ast.Call(ast.Name("const", ast.Load()), [value], [])
    return ast.Assign([ast.Name(name, ast.Store())], marked)


def _is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
