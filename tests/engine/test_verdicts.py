"""Review files edited entry by entry: all else stays, nobody's verdict is lost, and what is read is what was said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from augforge.engine.verdicts import Conflict, VerdictFile, review_line
from augforge.errors import AugforgeError, RecipeError
from augforge.recipe.recipe import Verdict

KEEP, DROP = Verdict(verdict="keep"), Verdict(verdict="drop", why="metal: ring")
WRITTEN = """\
# ours
samples:
  # first
  "x/1": {verdict: drop, why: "a"}  # looked at twice
  y:
    verdict: keep   # sure
    why: >-
      long
      text
  # between
  z: {why: 'it''s', verdict: drop}
  # "q": {verdict: drop}

# tail
"""


def write(folder: Path, text: str) -> VerdictFile:
    file = VerdictFile(folder / "review.yaml")
    file.path.write_text(text, encoding="utf-8")
    return file


def put(file: VerdictFile, name: str, verdict: Verdict | None) -> str:
    file.put(name, verdict, file.read().get(name))
    return file.path.read_text(encoding="utf-8")


def comments(text: str) -> set[str]:
    return {line.rpartition("#")[2].strip() for line in text.splitlines() if "#" in line}


@pytest.mark.parametrize("name", ["x/1", "y", "z", "new"])
@pytest.mark.parametrize("verdict", [KEEP, DROP, Verdict(verdict="drop", why="# no: {comment} \"'\n\x85\u2028é")])
def test_one_entry_changes_and_all_else_stays(tmp_path: Path, name: str, verdict: Verdict) -> None:
    file = write(tmp_path, WRITTEN)
    before = dict(file.read())
    text = put(file, name, verdict)
    assert dict(file.read()) == {**before, name: verdict}
    assert comments(text) >= comments(WRITTEN)
    plain = YAML(typ="safe").load(text)["samples"][name]
    assert {"why": "", **plain} == verdict.model_dump()  # another reader sees the same


@pytest.mark.parametrize("name", ["x/1", "y", "z"])
def test_a_verdict_that_is_taken_back_leaves_the_others(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, WRITTEN)
    before = dict(file.read())
    text = put(file, name, None)
    assert dict(file.read()) == {key: value for key, value in before.items() if key != name}
    assert comments(text) >= comments(WRITTEN) - {"sure"}  # which stood inside the entry


@pytest.mark.parametrize(
    "text",
    [
        "samples: {}\n",
        'samples: {}\n  # "a": {verdict: drop}\n',
        "samples: {}",
        "# c\nsamples:   {}   # d\n",
        "samples: {a: {verdict: drop}, b: {verdict: keep}}\n",
        "samples: {a: {verdict: drop}}",
        "samples:\n  a: {verdict: drop}  # e",
        "samples:\n    a: {verdict: drop}\n    b:\n        verdict: keep\n",
        "\ufeffsamples:\n- ignored: 1\n".replace("- ignored: 1", "  a: {verdict: keep}"),
        "samples:\r\n  a: {verdict: drop}\r\n  b: {verdict: keep}\r\n",
    ],
)
def test_every_way_to_write_it_can_be_edited(tmp_path: Path, text: str) -> None:
    for name in ("a", "b", "c"):
        for verdict in (DROP, KEEP, None):
            file = write(tmp_path, text)
            before = dict(file.read())
            changed = put(file, name, verdict)
            expected = {**before, name: verdict}
            assert dict(file.read()) == {key: value for key, value in expected.items() if value}
            assert comments(changed) >= comments(text)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["keep", "drop", None]), st.text(max_size=8)), max_size=6
    )
)
def test_any_order_of_verdicts_is_what_stands_there(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str | None, str]]
) -> None:
    file = VerdictFile(tmp_path_factory.mktemp("any") / "review.yaml")
    file.create()
    expected: dict[str, Verdict] = {}
    for name, verdict, why in said:
        if any("\ud800" <= c <= "\udfff" for c in why):
            continue
        new = None if verdict is None else Verdict.model_validate({"verdict": verdict, "why": why})
        file.put(name, new, expected.get(name))
        expected = {key: value for key, value in {**expected, name: new}.items() if value is not None}
        assert dict(file.read()) == expected


def test_a_file_of_comments_alone_keeps_them(tmp_path: Path) -> None:
    file = write(tmp_path, "# ours\n")
    file.create()
    assert put(file, "x", DROP).startswith("# ours\nsamples:\n")
    assert file.read() == {"x": DROP}


def test_a_verdict_that_changed_meanwhile_is_a_conflict_and_nothing_is_written(tmp_path: Path) -> None:
    file = write(tmp_path, WRITTEN)
    with pytest.raises(Conflict) as caught:
        file.put("x/1", KEEP, None)
    assert caught.value.present == Verdict(verdict="drop", why="a")
    with pytest.raises(Conflict, match="took the verdict back"):
        file.put("gone", KEEP, DROP)
    assert file.path.read_text() == WRITTEN


def test_verdicts_of_many_people_at_once_all_stay(tmp_path: Path) -> None:
    file = VerdictFile(tmp_path / "review.yaml")
    file.create()
    names = [f"ID{i:03d}/image" for i in range(16)]
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda name: VerdictFile(file.path).put(name, DROP, None), names))
    assert dict(file.read()) == dict.fromkeys(names, DROP)


def test_an_entry_of_another_person_between_reading_and_writing_stays(tmp_path: Path) -> None:
    file = write(tmp_path, WRITTEN)
    seen = file.read().get("x/1")
    file.path.write_text(WRITTEN.replace("# tail", "  bob: {verdict: keep}"), encoding="utf-8")
    file.put("x/1", KEEP, seen)
    assert {"bob", "x/1", "y", "z"} == set(file.read())


def test_accents_written_in_two_ways_are_one_name(tmp_path: Path) -> None:
    file = write(tmp_path, 'samples:\n  "Zoe\u0308": {verdict: keep}\n')
    put(file, "Zo\u00eb", DROP)
    assert dict(file.read()) == {"Zo\u00eb": DROP}


def test_what_cannot_be_edited_by_itself_is_refused_and_stays(tmp_path: Path) -> None:
    text = "samples:\n  a: &one {verdict: drop}\n  b: *one\n"
    file = write(tmp_path, text)
    with pytest.raises(AugforgeError, match=r"cannot be changed by itself\. Change it by hand"):
        put(file, "a", KEEP)
    assert file.path.read_text() == text


def test_a_file_that_is_no_review_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "samples:\n  a: {verdict: mabye}\n")
    with pytest.raises(RecipeError, match=r"review\.yaml:2"):
        file.put("a", KEEP, None)


def test_an_empty_or_missing_file_becomes_one_without_verdicts(tmp_path: Path) -> None:
    for text in (None, "", "  \n"):
        file = VerdictFile(tmp_path / "new/review.yaml")
        file.path.unlink(missing_ok=True)
        if text is not None:
            file.path.write_text(text)
        file.create()
        assert dict(file.read()) == {}
    file.put("a", KEEP, None)
    file.create()
    assert dict(file.read()) == {"a": KEEP}


def test_a_line_holds_no_line_break_and_no_control_character() -> None:
    line = review_line("a\nb\x1b", Verdict(verdict="drop", why="\u202e\x85\U000e0001"))
    assert line.isprintable() and YAML(typ="safe").load(line) == {
        "a\nb\x1b": {"verdict": "drop", "why": "\u202e\x85\U000e0001"}
    }
