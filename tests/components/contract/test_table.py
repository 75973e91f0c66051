"""Tables: rows are read from the source, a choice is complete, and every mistake is named."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from components.contract.params import Choice, build, dump, merge
from components.contract.record import identity
from components.contract.table import Table, modules
from components.errors import ParamsError, SpecError
from tests.components.contract.rows import TOYS, Boxed, away


@dataclass(frozen=True)
class Params:
    toy: Annotated[Choice, TOYS] = field(default_factory=lambda: Choice("near"))
    """Any toy."""
    other: Annotated[Choice, TOYS.only(family=("far",))] = field(default_factory=lambda: Choice("far"))
    """A toy that is far."""


def test_rows_come_in_the_order_of_the_file_with_all_that_their_source_says() -> None:
    assert list(TOYS.rows) == ["near", "far", "farther", "boxed"]
    near = TOYS["near"]
    assert (near.summary, near.method, near.source) == ("The nearest toy.", ("X-01",), "Doe 2020, eq. 1")
    assert (near.needs, near.facts, near.code) == (("a", "b"), {"family": "near"}, ("claims",))
    assert {name: (knob.default, knob.limits) for name, knob in near.knobs.items()} == {
        "beta": (0.1, "> 0"),
        "mode": ("sum", "one of sum, mean"),
        "on": (False, ""),
    }
    assert (near.ref, near.extra("claims"), near.load()(1.0, 2.0, beta=2.0)) == ("near@1", (len,), 6.0)


def test_one_function_may_be_several_rows_some_of_whose_knobs_are_fixed() -> None:
    assert TOYS["far"].method == ("X-02", "X-03")
    assert list(TOYS["farther"].knobs) == ["steps", "drift"]
    assert TOYS["farther"].status == "experimental"
    assert TOYS["farther"].load()(2.0, steps=1, drift=0.0) == 18.0 == away(2.0, reach=9.0, steps=1, drift=0.0)
    assert TOYS.bind(Choice("farther", {"steps": 2, "drift": 0.0}))(1.0) == 18.0


def test_reading_rows_imports_nothing_of_them() -> None:
    code = (
        "import sys\nfrom components.objectives.table import OBJECTIVES\n"
        "assert OBJECTIVES['dpo'].knobs['beta'].default == 0.1\n"
        "assert 'torch' not in sys.modules and 'components.objectives.pairwise' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_choice_is_filled_from_the_signature_and_says_its_revision() -> None:
    built = build(Params, {"toy": {"name": "near", "on": True}}, "p")
    assert dump(built)["toy"] == {"name": "near", "revision": 1, "beta": 0.1, "mode": "sum", "on": True}
    assert build(Params, dump(built), "p") == built


def test_a_default_that_is_written_out_is_the_same_identity() -> None:
    """A changed default, or a changed revision, is another identity: both stand in the dumped value."""
    written = {"toy": {"name": "near", "revision": 1, "beta": 0.1, "mode": "sum", "on": False}}
    ids = {identity("c@1", dump(build(Params, given, "p")), {}) for given in ({}, written, {"toy": {"name": "near"}})}
    assert len(ids) == 1
    other = identity("c@1", dump(build(Params, {"toy": {"name": "near", "beta": 0.2}}, "p")), {})
    assert other not in ids


def test_a_class_is_built_as_itself_and_dumps_what_it_is() -> None:
    built = build(Params, {"toy": {"name": "boxed", "size": 2}}, "p")
    assert built.toy == Boxed(size=2.0)
    assert dump(built)["toy"] == {"name": "boxed", "revision": 2, "size": 2.0, "colour": "red", "retries": 5}
    assert "retries" not in dump(built, execution=False)["toy"]
    assert build(Params, dump(built), "p") == built


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"toy": "near"}, r"p\.toy: must be \{name: ROW, knob: value\} \(got 'near'\)"),
        ({"toy": {"beta": 1.0}}, r"Give at least a name"),
        ({"toy": {"name": "nera"}}, r"p\.toy\.name: no such toy \(got 'nera'\)\. Did you mean 'near'"),
        ({"other": {"name": "near"}}, r"p\.other\.name: does not fit this step \(got 'near'\)"),
        ({"toy": {"name": "near", "bta": 1.0}}, r"p\.toy\.bta: near has no such knob\. Did you mean 'beta'"),
        ({"toy": {"name": "near", "beta": 0}}, r"p\.toy\.beta: must be > 0 \(got 0\.0\)"),
        ({"toy": {"name": "near", "beta": "high"}}, r"p\.toy\.beta: must be float \(got 'high' \(str\)\)\. Write"),
        ({"toy": {"name": "near", "beta": float("inf")}}, r"finite"),
        ({"toy": {"name": "near", "beta": True}}, r"must be float"),
        ({"toy": {"name": "near", "mode": "max"}}, r"p\.toy\.mode: not one of the choices"),
        ({"toy": {"name": "far", "steps": 0}}, r"p\.toy\.steps: must be >= 1 \(got 0\)"),
        ({"toy": {"name": "far", "drift": 1.0}}, r"p\.toy\.drift: must be < 1"),
        ({"toy": {"name": "farther", "reach": 1.0}}, r"p\.toy\.reach: farther has no such knob"),
        ({"toy": {"name": "boxed", "revision": 1}}, r"p\.toy\.revision: boxed is at revision 2 here \(got 1\)"),
        ({"toy": {"name": "boxed", "sise": 1}}, r"p\.toy: unknown key 'sise'"),
        ({"toy": {"name": "boxed", "size": 10, "colour": "blue"}}, r"p\.toy\.size: no blue box is so large"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(given: Any, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build(Params, given, "p")


def test_a_choice_written_in_code_is_of_the_revision_of_its_row() -> None:
    """Raising a revision must not make the defaults of parameters refuse themselves."""
    assert dump(Choice("boxed")) == {"name": "boxed"}
    assert dump(TOYS.choose("p", dump(Choice("boxed"))))["revision"] == 2


def test_merge_takes_the_knobs_of_another_row_away() -> None:
    base = {"toy": {"name": "near", "beta": 0.5}}
    assert merge(Params, base, {"toy": {"mode": "mean"}})["toy"] == {"name": "near", "beta": 0.5, "mode": "mean"}
    assert merge(Params, base, {"toy": {"name": "near", "on": True}})["toy"]["beta"] == 0.5
    assert merge(Params, base, {"toy": {"name": "far"}})["toy"] == {"name": "far"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            '@TOYS.row(family="a")\ndef one(*, x: complex = 1.0):\n    """One."""',
            r"annotation of a knob cannot be read",
        ),
        (
            '@TOYS.row(family="a")\ndef one(*, x: Positive = 2 * 3):\n    """One."""',
            r"must be a literal \(got 2 \* 3\)",
        ),
        ('@TOYS.row()\ndef one():\n    """One."""', r"toy 'one' does not say its family"),
        ('@TOYS.row(family="a")\ndef one():\n    pass', r"toy 'one' does not say its summary"),
        ('@TOYS.row(family="a")\n@TOYS.row(family="b")\ndef one():\n    """One."""', r"toy 'one' stands twice"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_toys.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError, match=message):
        Table("toys", "toy", "bad_toys", "Broken ones.", facts=("family",)).rows  # noqa: B018


def test_a_table_of_a_package_reads_the_files_of_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "many_toys" / "inner"
    inner.mkdir(parents=True)
    for path, name in ((tmp_path / "many_toys" / "__init__.py", "first"), (inner / "more.py", "second")):
        path.write_text(f'@TOYS.row()\ndef {name}():\n    """A toy."""\n')
    (inner / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert [name for name, _ in modules("many_toys")] == ["many_toys", "many_toys.inner", "many_toys.inner.more"]
    assert list(Table("toys", "toy", "many_toys", "Many.").rows) == ["first", "second"]


def test_a_table_whose_package_is_not_there_is_a_mistake_of_ours() -> None:
    with pytest.raises(SpecError, match=r"tests\.nowhere: no such package"):
        Table("toys", "toy", "tests.nowhere", "None.").rows  # noqa: B018
