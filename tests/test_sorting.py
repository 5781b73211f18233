"""Equal values are sorted in an order that does not depend on the processor, everywhere in the library."""

import ast

import pytest

from gexsent.digest import PACKAGE

FORBIDDEN = ("argpartition", "topk", "msort")  # they leave the order, or the choice, of equals open


def faults(source: str) -> list[str]:
    """Calls that leave the order of equal values open, as `line: name`. A sort of a list is stable as it is, and pandas
    sorts by several columns stably."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, given = node.func.attr, {keyword.arg: keyword.value for keyword in node.keywords}
        stable = any(
            isinstance(given.get(key), ast.Constant) and given[key].value == value
            for key, value in (("stable", True), ("kind", "stable"))
        )
        several = bool(node.args) and isinstance(node.args[0], ast.List) and len(node.args[0].elts) > 1
        of_tensor = name == "sort" and ("dim" in given or "descending" in given)
        unstable = not stable and (name == "argsort" or of_tensor or (name == "sort_values" and not several))
        if unstable or name in FORBIDDEN:
            found.append(f"{node.lineno}: {name}")
    return found


def test_every_sort_of_the_library_is_stable():
    found = {str(path.relative_to(PACKAGE)): faults(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    assert len(found) > 50
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("x.argsort()", True),
        ("x.argsort(dim=1, stable=True)", False),
        ("np.argsort(x, kind='stable')", False),
        ("np.argsort(x, kind='quicksort')", True),
        ("x.argsort(stable=False)", True),
        ("np.argpartition(x, 3)", True),
        ("x.topk(2, -1)", True),
        ("x.sort(dim=-1)", True),
        ("x.sort(dim=-1, stable=True)", False),
        ("rows.sort(key=len)", False),
        ("table.sort_values('a')", True),
        ("table.sort_values(['a'])", True),
        ("table.sort_values(['a', 'b'])", False),
        ("table.sort_values('a', kind='stable')", False),
    ],
)
def test_what_counts_as_a_fault(call, fault):
    assert bool(faults(call)) is fault
