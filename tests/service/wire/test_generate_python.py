"""The Python client's module of types."""

import ast

from service.wire import generate_python, protocol


def test_each_class_stands_after_what_it_names() -> None:
    seen: set[str] = set()
    for node in ast.parse(generate_python.events()).body:
        if isinstance(node, ast.ImportFrom):
            seen |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            assert isinstance(target, ast.Name)
            seen.add(target.id)
        elif isinstance(node, ast.ClassDef):
            named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            ours = {name for name in named if hasattr(protocol, name)} - {node.name}
            assert ours <= seen, node.name
            seen.add(node.name)
    kinds = (*protocol.CLIENT_EVENTS.values(), *protocol.SERVER_EVENTS.values())
    assert seen >= {kind.__name__ for kind in kinds}


def test_it_imports_nothing_but_the_standard_library() -> None:
    names = {
        node.module
        for node in ast.parse(generate_python.events()).body
        if isinstance(node, ast.ImportFrom)
    }
    assert names == {"collections.abc", "dataclasses", "typing"}
