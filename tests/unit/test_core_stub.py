"""`_core.pyi` says what the compiled core has: names, signatures, defaults, nothing more and nothing less."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import seismolog
from seismolog import _core
from seismolog.archive.scanning import DETAIL_TABLES

STUB = Path(seismolog.__file__).with_name("_core.pyi")
TREE = ast.parse(STUB.read_text())
FUNCTIONS = {n.name: n for n in TREE.body if isinstance(n, ast.FunctionDef)}
CLASSES = {n.name: n for n in TREE.body if isinstance(n, ast.ClassDef)}
VALUES = {
    n.target.id: n for n in TREE.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
}
# What the core hands over but does not name: the two only carry Arrow's own protocol.
UNNAMED = {"ArrowTable": "__arrow_c_stream__", "ArrowBatch": "__arrow_c_array__"}


def public(thing: Any) -> set[str]:
    return {n for n in dir(thing) if not n.startswith("_")}


def stub_parameters(node: ast.FunctionDef) -> list[tuple[str, str, Any]]:
    """(name, kind, default) of each parameter; `...` stands for an empty collection."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    found = [(a.arg, "positional", d) for a, d in zip(positional, defaults, strict=True)]
    found += [(a.arg, "keyword", d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [(n, k, inspect.Parameter.empty if d is None else ast.literal_eval(d)) for n, k, d in found]


def core_parameters(function: Any) -> list[tuple[str, str, Any]]:
    return [
        (p.name, "keyword" if p.kind is inspect.Parameter.KEYWORD_ONLY else "positional", p.default)
        for p in inspect.signature(function).parameters.values()
    ]


def test_the_same_names() -> None:
    assert public(_core) == (set(FUNCTIONS) | set(CLASSES) | set(VALUES)) - set(UNNAMED)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_same_signature(name: str) -> None:
    assert core_parameters(getattr(_core, name)) == stub_parameters(FUNCTIONS[name])


@pytest.mark.parametrize("name", sorted(set(CLASSES) - set(UNNAMED)))
def test_the_same_members(name: str) -> None:
    members = {n.name for n in CLASSES[name].body if isinstance(n, ast.FunctionDef)}
    core_class = getattr(_core, name)
    inherited = public(core_class.__base__) if issubclass(core_class, Exception) else set()
    assert public(core_class) - inherited == {m for m in members if not m.startswith("_")}
    assert all(hasattr(core_class, m) for m in members)
    for node in CLASSES[name].body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
            assert is_property == inspect.isdatadescriptor(getattr(core_class, node.name)), node.name


@pytest.mark.parametrize("name", [n for n, c in CLASSES.items() if c.bases])
def test_the_same_bases(name: str) -> None:
    bases = [b.id for b in CLASSES[name].bases if isinstance(b, ast.Name)]
    assert [b.__name__ for b in getattr(_core, name).__bases__] == bases


def test_everything_says_what_it_does() -> None:
    for node in [*FUNCTIONS.values(), *CLASSES.values()]:
        assert ast.get_docstring(node), node.name


def test_what_is_handed_over_carries_arrow(tmp_path: Path) -> None:
    (tmp_path / "empty.log").write_bytes(b"")
    scanned = _core.scan([tmp_path / "empty.log"])
    assert hasattr(scanned.table("traffic"), UNNAMED["ArrowTable"])
    from arro3.core import ChunkedArray

    columns = pl.Series([0], dtype=pl.UInt32), pl.Series([None], dtype=pl.Binary)
    arrays = [ChunkedArray.from_arrow(c).combine_chunks() for c in columns]
    assert hasattr(_core.merge_states(*arrays), UNNAMED["ArrowBatch"])


def test_reports_hold_what_the_stub_says(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_bytes(b"Jul 15 18:00:01 mx1 popper[1]: Stats: joe 0 0 0 0 c 192.0.2.1\n")
    scanned = _core.scan([tmp_path / "one.log"])
    scan_stub = {
        n.name: ast.get_docstring(n) or "" for n in CLASSES["Scan"].body if isinstance(n, ast.FunctionDef)
    }
    (explanation,) = _core.explain(tmp_path / "one.log")
    told = {
        "sources": (scanned.sources[0], scan_stub["sources"]),
        "summary": (scanned.summary, scan_stub["summary"]),
        "identify": (
            _core.identify([tmp_path / "one.log"])[0],
            ast.get_docstring(FUNCTIONS["identify"]) or "",
        ),
        "digest": (_core.digest(tmp_path / "one.log"), ast.get_docstring(FUNCTIONS["digest"]) or ""),
        "explain": (explanation, ast.get_docstring(CLASSES["Explanations"]) or ""),
    }
    for name, (report, text) in told.items():
        words = text.replace(",", " ").replace(".", " ").replace(":", " ").split()
        for key in report:
            assert key in words, f"{name}: {key} is not in the stub"


def test_tables_have_the_columns_of_the_stub(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_bytes(b"Jul 15 18:00:01 mx1 popper[1]: Stats: joe 0 0 0 0 c 192.0.2.1\n")
    scanned = _core.scan([tmp_path / "one.log"], state=True, inside=["192.0.2.0/24"])
    text = next(
        ast.get_docstring(n) or ""
        for n in CLASSES["Scan"].body
        if isinstance(n, ast.FunctionDef) and n.name == "table"
    )
    words = set(text.replace(",", " ").replace(".", " ").replace("(", " ").split())
    for name in ("traffic", "client_traffic", *DETAIL_TABLES):
        columns = set(pl.DataFrame(scanned.table(name)).columns)
        assert columns - set(_core.QTYPES) <= words, columns - words
    with pytest.raises(_core.UsageError, match="no table"):
        scanned.table("domains")
