"""What happened to a dataset: log, tags of versions, and making an older version the current one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toybox import toy_fixture, two_versions_fixture  # noqa: F401

from augforge.engine.builder import build
from augforge.engine.repair import repair
from augforge.errors import DatasetError
from augforge.files import writer_lock
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.history import checkout, delete_tag, history, list_tags, tag_version
from augforge.store.log import append_entry, read_log
from augforge.store.manifest import read_manifest, versions
from augforge.store.tags import read_tags, write_tags
from augforge.store.verify import verify


def old_and_new(toy: Path) -> tuple[str, str]:
    current = read_manifest(toy).version
    (old,) = set(versions(toy)) - {current}
    return old, current


# ---- log -------------------------------------------------------------------------------------------------------------


def test_versions_are_listed_newest_first_with_their_parents(toy: Path) -> None:
    old, new = old_and_new(toy)
    found = history(toy)
    assert [(entry.version, entry.parent, entry.current) for entry in found.entries] == [
        (new, old, True),
        (old, None, False),
    ]
    first, manifest = found.entries[0], read_manifest(toy)
    assert (first.samples, first.splits, first.builds) == (manifest.samples, manifest.splits, 1)
    assert first.recipe["digest"] == manifest.recipe.digest
    assert str(first.recipe["path"]).endswith("recipe.yaml")
    assert found.damaged_lines == []


def test_an_entry_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    """Also behind the half line that a killed build left."""
    append_entry(tmp_path, {"version": "one"})
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"version": "tw')
    append_entry(tmp_path, {"version": "three"})
    log = read_log(tmp_path)
    assert [entry["version"] for entry in log.entries] == ["one", "three"] and log.damaged == (2,)


def test_damaged_lines_are_told_and_the_rest_is_read(toy: Path) -> None:
    old, new = old_and_new(toy)
    log = toy / "log.jsonl"
    first, second = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([first, b'{"time": "20', b"\xff\xfe", b"[1]", b'{"version": 3}', second]))
    found = history(toy)
    assert found.damaged_lines == [2, 3, 4, 5]
    assert [entry.version for entry in found.entries] == [new, old]


def test_versions_without_a_log_are_listed(toy: Path) -> None:
    (toy / "log.jsonl").unlink()
    assert {(entry.version, entry.time, entry.parent) for entry in history(toy).entries} == {
        (version, None, None) for version in versions(toy)
    }


def test_failed_builds_are_listed_as_such(toy: Path) -> None:
    line = {"time": "2026-01-02T03:04:05Z", "version": None, "recipe": "r.yaml", "overrides": {"seed": 3}}
    failure = {"sample": "a", "step": "hflip", "message": "no", "traceback": "long"}
    with (toy / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({**line, "failures": [failure]}) + "\n")
    entry = history(toy).entries[0]
    assert (entry.kind, entry.version, entry.overrides) == ("failed", None, {"seed": 3})
    assert entry.failures == [{"sample": "a", "step": "hflip", "message": "no"}]


def test_a_version_that_gc_removed_is_still_in_the_history(toy: Path) -> None:
    old, new = old_and_new(toy)
    collect(toy, keep=1, now=True)
    made = [entry for entry in history(toy).entries if entry.kind == "version"]
    assert [(entry.version, entry.exists) for entry in made] == [(new, True), (old, False)]


def test_a_damaged_manifest_is_a_problem_of_its_version(toy: Path) -> None:
    old, _ = old_and_new(toy)
    (toy / f"versions/{old}.yaml").write_text("format: 1\nname: [")
    newer, older = history(toy).entries
    assert newer.problem is None
    assert f"{old}.yaml" in str(older.problem)


def test_a_rebuild_of_the_same_version_is_counted(two_versions: Path, toy: Path) -> None:
    build(two_versions / "recipe.yaml", toy)
    found = history(toy).entries
    assert [(entry.version, entry.builds) for entry in found] == [*zip(old_and_new(toy)[::-1], (2, 1), strict=True)]
    assert found[0].parent == old_and_new(toy)[0]


def test_a_url_that_only_reads_is_refused_with_the_remedy() -> None:
    for call in (lambda place: checkout(place, "0"), lambda place: tag_version(place, "x")):
        with pytest.raises(DatasetError, match=r"cannot be written: https only reads\. Give a URL of a store"):
            call("https://example.org/toy")


# ---- tags ------------------------------------------------------------------------------------------------------------


def test_a_tag_names_a_version_everywhere(toy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old, new = old_and_new(toy)
    assert tag_version(toy, "baseline", old[:8]) == old
    assert tag_version(toy, "best") == new
    assert list_tags(toy) == {"baseline": old, "best": new}
    assert open_dataset(toy, "baseline").version == old
    assert verify(toy, "baseline") == []
    assert [entry.tags for entry in history(toy).entries if entry.kind == "version"] == [["best"], ["baseline"]]
    assert tag_version(toy, "best", "baseline") == old
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    assert open_dataset(f"file://{toy}", "best").version == old
    assert delete_tag(toy, "best") == old
    assert list_tags(toy) == {"baseline": old}
    with pytest.raises(DatasetError, match=r"file://.* no version 'best'.*baseline"):
        open_dataset(f"file://{toy}", "best")
    (toy / "tags.yaml").unlink()
    with pytest.raises(DatasetError, match=r"file://.* no version 'baseline'"):
        open_dataset(f"file://{toy}", "baseline")


def test_unknown_tags_name_the_nearest(toy: Path) -> None:
    tag_version(toy, "baseline")
    with pytest.raises(DatasetError, match=r"no version 'basline'.*Did you mean 'baseline'.*augforge log"):
        read_manifest(toy, "basline")
    with pytest.raises(DatasetError, match=r"no tag 'basline'.*Did you mean 'baseline'"):
        delete_tag(toy, "basline")


@pytest.mark.parametrize("name", ["", "beef", "0", "a b", "../x", ".x", "-x", "a" * 101, "x\n"])
def test_names_that_could_be_versions_or_paths_are_refused(toy: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="cannot be a tag"):
        tag_version(toy, name)
    assert not (toy / "tags.yaml").exists()


def test_versions_of_digits_alone_stay_text(toy: Path) -> None:
    for version in ("1234567890123456", "12345678901234e5", "0000000000000017"):
        (toy / "tags.yaml").write_text("")
        write_tags(toy, {"on": version})
        assert read_tags(toy) == {"on": version}


@pytest.mark.parametrize("text", ["[1]", "x: 3", "x: beef", "beef: 0123456789abcdef", "x: {"])
def test_a_damaged_tags_file_is_named(toy: Path, text: str) -> None:
    (toy / "tags.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"tags\.yaml"):
        read_tags(toy)
    with pytest.raises(DatasetError, match=r"tags\.yaml"):
        collect(toy, keep=1, now=True)
    assert len(versions(toy)) == 2


def test_gc_keeps_tagged_versions(toy: Path) -> None:
    old, new = old_and_new(toy)
    tag_version(toy, "baseline", old)
    collect(toy, keep=1, now=True)
    assert versions(toy) == sorted([old, new])
    assert verify(toy, "baseline", pixels=True) == []
    delete_tag(toy, "baseline")
    collect(toy, keep=1, now=True)
    assert versions(toy) == [new]


# ---- checkout --------------------------------------------------------------------------------------------------------


def test_checkout_makes_a_version_current_and_copies_nothing(toy: Path) -> None:
    old, new = old_and_new(toy)
    before = {path: path.stat().st_mtime_ns for part in ("shards", "index") for path in (toy / part).iterdir()}
    assert checkout(toy, old[:6]).version == old
    assert open_dataset(toy).version == old
    assert (toy / "manifest.yaml").read_bytes() == (toy / f"versions/{old}.yaml").read_bytes()
    assert old in (toy / "README.md").read_text()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert verify(toy, pixels=True) == []
    found = history(toy).entries
    assert [(entry.kind, entry.version, entry.current) for entry in found] == [
        ("checkout", old, False),
        ("version", new, False),
        ("version", old, True),
    ]


def test_the_parent_of_a_build_after_a_checkout_is_what_was_checked_out(two_versions: Path, toy: Path) -> None:
    old, new = old_and_new(toy)
    checkout(toy, old)
    summary = build(two_versions / "recipe.yaml", toy, overrides=["seed=5"])
    assert history(toy).entries[0].parent == old
    assert summary.version not in (old, new)


def test_checkout_and_a_build_go_to_and_fro(two_versions: Path, toy: Path) -> None:
    old, new = old_and_new(toy)
    checkout(toy, old)
    summary = build(two_versions / "recipe.yaml", toy)
    assert (summary.version, summary.made, summary.new_shards) == (new, 0, 0)


def test_the_log_of_a_version_is_found_after_a_checkout(toy: Path) -> None:
    from augforge.train.built import last_build

    old, _ = old_and_new(toy)
    checkout(toy, old)
    assert "overrides" in last_build(open_dataset(toy))


def test_checkout_refuses_what_is_not_whole_and_a_running_build(toy: Path) -> None:
    old, new = old_and_new(toy)
    with writer_lock(toy), pytest.raises(DatasetError, match="another build"):
        checkout(toy, old)
    with writer_lock(toy), pytest.raises(DatasetError, match="another build"):
        tag_version(toy, "x")
    only_old = {s.path for s in read_manifest(toy, old).shards} - {s.path for s in read_manifest(toy, new).shards}
    (toy / only_old.pop()).unlink()
    with pytest.raises(DatasetError, match=r"cannot be made current: .* is missing. Build it again"):
        checkout(toy, old)
    assert read_manifest(toy).version == new


def test_readers_see_one_version_or_the_other(toy: Path) -> None:
    pair = old_and_new(toy)

    def read(_: int) -> str:
        return read_manifest(toy).version

    with ThreadPoolExecutor(4) as pool:
        seen = pool.map(read, range(40))
        for number in range(10):
            checkout(toy, pair[number % 2])
        assert set(seen) <= set(pair)


def test_the_log_of_a_folder_without_one_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path).entries == ()


def test_gc_and_tags_stand_in_the_log(toy: Path) -> None:
    first = read_manifest(toy).version
    tag_version(toy, "baseline")
    (toy / "work").mkdir(exist_ok=True)
    (toy / "work/files.sqlite").write_bytes(b"12345")
    collected = collect(toy, now=True)
    delete_tag(toy, "baseline")
    collect(toy, now=True)  # nothing is left to delete, so nothing is noted
    entries = history(toy).entries
    assert [entry.kind for entry in entries][:3] == ["tag", "gc", "tag"]
    assert (entries[0].all_tags, entries[2].all_tags) == ({}, {"baseline": first})
    assert entries[1].removed == {key: collected[key] for key in ("files", "bytes", "versions")}
    assert [entry.kind for entry in entries].count("gc") == 1


def test_tags_that_were_lost_are_found_by_the_log(toy: Path) -> None:
    version = tag_version(toy, "baseline")
    (toy / "tags.yaml").unlink()
    (fault,) = verify(toy)
    assert (
        fault.partition(": ")[0].endswith("tags.yaml")
        and f"is missing, and the log says that it named baseline ({version})" in fault
    )
    assert [Path(file).name for file in repair(toy).repaired] == ["tags.yaml"]
    assert read_tags(toy) == {"baseline": version} and not verify(toy)
    delete_tag(toy, "baseline")
    (toy / "tags.yaml").unlink()
    assert not verify(toy)
