"""What linters of docstrings do not ask: who takes two arguments or more says what each of them is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("models", "training", "service", "rqrec/client")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(path: Path) -> dict[str, Function]:
    """The functions of a module, and the methods of its classes, whose names have no underscore before them."""
    found: dict[str, Function] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        found |= {
            f"{owner}{one.name}": one for one in members if isinstance(one, Function) and not one.name.startswith("_")
        }
    return found


def arguments_of(function: Function) -> list[str]:
    given = function.args
    names = [one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs] if one.arg not in {"self", "cls"}]
    return [name for name in names if not name.startswith("_")]


def undocumented(path: Path) -> list[str]:
    faults = []
    for name, function in public_functions(path).items():
        arguments, text = arguments_of(function), ast.get_docstring(function) or ""
        is_override = any(
            "override" in ast.unparse(one) or "overload" in ast.unparse(one) for one in function.decorator_list
        )
        missing = [one for one in arguments if f"    {one}: " not in text or "Args:" not in text]
        if len(arguments) > 1 and missing and not is_override:
            faults.append(f"{path.relative_to(ROOT)}:{function.lineno} {name}: {', '.join(missing)}")
    return faults


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_functions_of_two_or_more_arguments_say_what_each_is(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert len(modules) > 2
    assert [fault for module in modules for fault in undocumented(module)] == []


def test_the_check_finds_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    module = tmp_path / "module.py"
    module.write_text('def add(one, other):\n    """Adds.\n\n    Args:\n        one: A number.\n    """\n')
    assert undocumented(module) == ["module.py:1 add: other"]
