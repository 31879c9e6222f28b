"""The limits that keep every piece small: lines of a file and of a function, files of a folder."""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("models", "training", "service", "rqrec", "benchmarks", "tests")
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 300, 40, 15


def modules() -> list[Path]:
    """All modules; Python does not follow the links in rqrec/ to the other folders."""
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def pages() -> list[Path]:
    """All files of the explorer."""
    return sorted((ROOT / "service/explorer").rglob("*.*"))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1


def test_files_are_short() -> None:
    assert len(modules()) > 200
    assert len(pages()) > 20
    assert [
        path for path in [*modules(), *pages()] if len(path.read_text(encoding="utf-8").splitlines()) > FILE_LINES
    ] == []


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines_of(node)}"
        for path in modules()
        if path.relative_to(ROOT).parts[0] != "tests"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > FUNCTION_LINES
    ]
    assert long == []


def test_folders_are_small() -> None:
    sizes = Counter(path.parent.relative_to(ROOT) for path in [*modules(), *pages()])
    assert {str(folder): size for folder, size in sizes.items() if size > FOLDER_FILES} == {}
