"""Joins the modules that stay in a board's memory to one. (F1)

Each module costs heap beside its code: its names as a module, in its package and as a file, a dictionary with room for
more, and in it an entry for each name of another module. So those of a bundle become one, under the name of the last:

- between them, an import goes, and `module.name` becomes `name`; the others import `name` from the bundle;
- in the place of one that went in is a file that imports its public names from there, for drivers of one's own.

No name is changed: one that would stand for two things is an error.
"""

import ast
from collections.abc import Iterator

BUNDLE = (
    "fieldloom_contract.compat",
    "fieldloom_contract.errors",
    "fieldloom_contract.fields",
    "fieldloom_contract.board_topics",
    "fieldloom_contract.device",
    "fieldloom_contract.stream",
    "fieldloom_agent.overlay",
    "fieldloom_agent.tasks",
    "fieldloom_agent.log",
    "fieldloom_agent.buffer",
    "fieldloom_agent.clock",
    "umqtt.simple",
    "fieldloom_agent.tls",
    "fieldloom_agent.stored",
    "fieldloom_agent.link",
    "fieldloom_agent.connection",
    "fieldloom_agent.agent",
)
"""Those of the agent, as they run: a module comes after those that it imports."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def bundle(sources: dict[str, str], names: tuple[str, ...] = BUNDLE) -> dict[str, str]:
    """Return modules, by their dotted names, with those of a bundle in one. Raises ValueError where names collide."""
    trees = {name: _Module(name, names).visit(ast.parse(source)) for name, source in sources.items()}
    made = {name: ast.unparse(tree) for name, tree in trees.items() if name not in names}
    lines: dict[str, str] = {}  # each statement of the bundle, and the module that it is of
    binds: dict[str, str] = {}  # name: the statement that binds it
    for module in names:
        public = []
        for line in _single(trees[module].body):
            told = ast.unparse(line)
            for name in _bound(line):
                if binds.setdefault(name, told) != told:
                    raise ValueError(f"{name} of {module} is something else in {lines[binds[name]]}")
                if not name.startswith("_") and not isinstance(line, ast.Import | ast.ImportFrom):
                    public.append(name)
            lines.setdefault(told, module)
        made[module] = f"from {names[-1]} import {', '.join(public)}" if public else ""
    made[names[-1]] = "\n".join(lines)
    return made


def _single(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, an import name by name: modules that import the same name share it."""
    for line in body:
        if isinstance(line, ast.ImportFrom):
            for alias in line.names:
                yield ast.ImportFrom(line.module, [alias], 0)
        else:
            yield line


def _bound(line: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a module binds there."""
    if isinstance(line, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield line.name
    elif isinstance(line, ast.Import | ast.ImportFrom):
        for alias in line.names:
            yield alias.asname or alias.name
    elif isinstance(line, ast.If):
        for part in line.body + line.orelse:
            yield from _bound(part)
    else:
        for node in ast.walk(line):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


class _Module(ast.NodeTransformer):
    """One module, in the bundle or beside it."""

    def __init__(self, name: str, bundle: tuple[str, ...]) -> None:
        self._name = name
        self._bundle = bundle
        self._modules: set[str] = set()  # names that stand for a module of the bundle
        self._needed: dict[str, None] = {}  # names of the bundle that it reaches by a module
        self._taken: set[str] = set()  # names that are something else where it is

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Turn all that is in it."""
        self.generic_visit(node)
        if self._needed and self._name not in self._bundle:
            node.body.insert(0, ast.ImportFrom(self._bundle[-1], [ast.alias(name) for name in self._needed], 0))
        return node

    def visit_FunctionDef(self, node: Function) -> Function:
        """Turn a function, in which its own names are what they are there."""
        outside = self._taken
        self._taken = outside.union(
            *map(_bound, node.body), (one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg))
        )
        self.generic_visit(node)
        self._taken = outside
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's own name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Turn an import from a module of the bundle, or of one."""
        if node.module in self._bundle:
            if self._name in self._bundle:
                renamed = [alias.asname for alias in node.names if alias.asname not in (None, alias.name)]
                if renamed:
                    raise ValueError(f"{renamed[0]} would be something else in {self._name}")
                return None
            return ast.ImportFrom(self._bundle[-1], node.names, 0)
        modules = [alias for alias in node.names if f"{node.module}.{alias.name}" in self._bundle]
        self._modules |= {alias.asname or alias.name for alias in modules}
        node.names = [alias for alias in node.names if alias not in modules]
        return node if node.names else None

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Refuse a module of the bundle that is used for itself: it is none any more."""
        if node.id in self._modules - self._taken:
            raise ValueError(f"{node.id} would be something else in {self._name}")
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Take a name of a module of the bundle for what it is."""
        if isinstance(node.value, ast.Name) and node.value.id in self._modules:
            if {node.value.id, node.attr} & self._taken:
                raise ValueError(f"{node.value.id}.{node.attr} would be something else in {self._name}")
            self._needed[node.attr] = None
            return ast.Name(node.attr, node.ctx)
        self.generic_visit(node)
        return node
