"""Ops and sources by name: imported at the first look-up; plugins by file and by entry point."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toybox import ids, tiny_hands, write_recipe

from augforge.catalogue import Catalogue, load_plugin, origin_of
from augforge.engine.builder import build
from augforge.errors import PluginError
from augforge.ops import OPS, BoundOp
from augforge.sources import SOURCES
from augforge.store.manifest import read_manifest

EXAMPLE = Path(__file__).parents[1] / "examples/augforge-gain"

PLUGIN = '''
"""An op and a source."""
from typing import ClassVar, Literal
import numpy as np
from augforge.ops.core import OpParams, op
from augforge.sources.core import source
from augforge.sources.formats.hand_bone import HandBone

class Invert(OpParams):
    """Invert gray values."""

@op("invert", Invert, version=1, role="augment")
def invert(inputs, drawn, params, ctx):
    yield inputs[0].derive(~inputs[0].image, inputs[0].masks)

@source
class OtherHands(HandBone):
    """Hands under another name."""
    adapter_version: ClassVar[int] = 7
    format: Literal["other-hands"] = "other-hands"
'''

READER = '''
"""A source of texts that name classes."""
from typing import ClassVar, Literal
import numpy as np
from augforge import bitmask
from augforge.files import file_sha256
from augforge.sources.core import Source, source
from augforge.sources.classes import class_table_of_scan
from augforge.sources.loading import known_bits, make_sample
from augforge.sources.scan.records import make_record, name_of
from augforge.sources.scan.scanning import Scan

def facts_of(path):
    text = path.read_text()
    return {"width": 4, "height": 4, "bytes": 3, "sha256": file_sha256(path), "labels": text.split()}

@source
class Texts(Source):
    """Texts."""
    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = "ROOT/"
    format: Literal["texts"] = "texts"

    def scan(self, cache):
        scan = Scan(self, cache)
        places = scan.places_by_name((name_of(place), place) for place in scan.walk("", {".txt"}))
        facts = scan.facts(places.items(), "texts@1", facts_of, "broken text")
        labels = sorted({label for fact in facts.values() for label in fact["labels"]})
        table = class_table_of_scan(scan, labels, self.root)
        data = {"known": table.known}
        found = (make_record(name, place, facts[place], "", data=data) for name, place in places.items())
        return scan.make_listing(found, table.names)

    def load(self, record, classes):
        image = np.full((4, 4), int(record.name), np.uint8)
        return make_sample(record, image, bitmask.empty(4, 4, len(classes)), known_bits(record, classes))
'''


def in_new_process(code: str, *paths: Path) -> str:
    path = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(modules: str) -> set[str]:
    """Modules that a new process holds after an import."""
    return set(json.loads(in_new_process(f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))")))


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "augforge"}


# ---- what an import loads ----


def test_import_augforge_loads_nothing_else() -> None:
    assert own(loaded_by("augforge")) == {"augforge"}


def test_planning_loads_no_pixels_no_files_and_no_adapter() -> None:
    names = [f"augforge.planning.{name}" for name in ("identity", "partners", "plan", "rows", "splits", "steps")]
    found = loaded_by(", ".join(names))
    assert not {"cv2", "pyarrow", "polars", "PIL", "ruamel.yaml", "sqlite3"} & found
    rooms = {name.split(".")[1] for name in own(found) - {"augforge"}}
    assert not {"sources", "store", "cache", "engine", "recipe", "yamlfile", "bitmask"} & rooms
    assert len(own(found)) < 25


def test_a_loader_process_loads_little() -> None:
    found = own(loaded_by("augforge.train.data.loading"))
    assert len(found) < 42
    rooms = {name.split(".")[1] for name in found - {"augforge"}}
    assert not {"sources", "engine", "recipe", "export", "report", "cli"} & rooms


def test_an_op_that_is_imported_is_found_without_the_others() -> None:
    code = (
        "import sys; from augforge.ops.geometry import hflip; from augforge.ops import OPS; print(OPS['hflip'] is hflip"
    )
    assert in_new_process(code + ", 'augforge.ops.mosaic' in sys.modules)").split() == ["True", "False"]


# ---- registering ----


def test_names_are_unique_and_sorted() -> None:
    things: Catalogue[int] = Catalogue("thing", "augforge.export", "augforge.things")
    with things.restored():
        things.add("b", 1, "augforge.export")
        things.add("a", 2, "augforge.export")
        with pytest.raises(ValueError, match="duplicate thing 'a': augforge itself has that name already"):
            things.add("a", 3, "augforge.export")
        assert list(things.items()) == [("a", 2), ("b", 1)]
    assert "a" not in things and len(things) == 0
    with pytest.raises(KeyError):
        things["a"]


def test_a_failing_module_fails_at_every_look_up(tmp_path: Path) -> None:
    package = tmp_path / "halfway"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "wrong.py").write_text("raise ImportError('no such library')")
    code = (
        "from augforge.catalogue import Catalogue\n"
        "things = Catalogue('thing', 'halfway', 'halfway')\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        len(things)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    assert in_new_process(code, tmp_path).split("\n") == ["no such library", "no such library", ""]


# ---- plugin files ----


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from augforge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True)


def other_hands(tmp_path: Path, *steps: str) -> Path:
    """A recipe over the plugin's source."""
    data = tiny_hands(tmp_path / "data", range(0, 240, 8))
    recipe = write_recipe(tmp_path / "recipe.yaml", data, steps, classes="[a, b]")
    recipe.write_text(recipe.read_text().replace("hand-bone", "other-hands"))
    return recipe


def test_a_plugin_builds_the_same_in_one_process_and_in_two(tmp_path: Path, plugin: Path) -> None:
    recipe = other_hands(tmp_path, "{op: invert, keep_input: true}")
    versions = []
    for jobs in (1, 2):
        done = run("build", recipe, "--out", tmp_path / f"jobs{jobs}", "-j", jobs, "--plugin", plugin, "--json")
        assert done.returncode == 0, done.stderr
        versions.append(json.loads(done.stdout)["version"])
        assert json.loads(done.stdout)["samples"] == 30 + 29
    assert versions[0] == versions[1]
    origin = read_manifest(tmp_path / "jobs1").plugins
    assert origin.keys() == {"invert", "other-hands"} and len(set(origin.values())) == 1


def test_a_changed_plugin_makes_other_ids(tmp_path: Path, plugin: Path) -> None:
    recipe = other_hands(tmp_path, "{op: invert, keep_input: true}")
    assert run("build", recipe, "--out", tmp_path / "one", "--plugin", plugin).returncode == 0
    plugin.write_text(PLUGIN + "# another line\n")
    assert run("build", recipe, "--out", tmp_path / "two", "--plugin", plugin).returncode == 0
    one, two = ids(tmp_path / "one"), ids(tmp_path / "two")
    assert one.keys() == two.keys()
    assert not set(one.values()) & set(two.values())


def test_a_recipe_runs_no_code(tmp_path: Path, plugin: Path) -> None:
    recipe = other_hands(tmp_path)
    done = run("build", recipe, "--out", tmp_path / "out")
    assert done.returncode == 1 and "there is no format 'other-hands'" in done.stderr
    recipe.write_text(recipe.read_text() + f"plugin: {plugin}\n")
    done = run("build", recipe, "--out", tmp_path / "out", "--plugin", plugin)
    assert done.returncode == 1 and "unknown key" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('not today')", "RuntimeError: not today"),
        (PLUGIN.replace('"invert"', '"hflip"'), "duplicate op 'hflip'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "registers no op and no source"),
        (PLUGIN.replace('role="augment"', 'role="augmentation"'), "the role 'augmentation'; expected one of prepare"),
        (PLUGIN.replace('Literal["other-hands"]', "str"), "OtherHands names no format"),
        (
            PLUGIN.replace("class OtherHands(HandBone)", "class OtherHands(Source)").replace(
                "import source\n", "import Source, source\n"
            ),
            "OtherHands has no layout, load, scan",
        ),
    ],
)
def test_a_plugin_that_fails_is_named(plugin: Path, text: str, message: str) -> None:
    plugin.write_text(text)
    done = run("ops", "--plugin", plugin)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert str(plugin) in done.stderr.replace("\n", "") and message in done.stderr.replace("\n", " ")


def test_the_option_may_stand_before_the_command_and_in_python(tmp_path: Path, plugin: Path) -> None:
    recipe = other_hands(tmp_path, "{op: invert}")
    assert run("--plugin", plugin, "build", recipe, "--out", tmp_path / "out").returncode == 0
    arguments = f"{str(recipe)!r}, {str(tmp_path / 'two')!r}, plugins=[{str(plugin)!r}]"
    code = f"from augforge import build; print(build({arguments}).version)"
    assert in_new_process(code).strip() == read_manifest(tmp_path / "out").version


def test_a_changed_plugin_reads_its_files_again(tmp_path: Path, plugin: Path) -> None:
    """The facts of its own function, which the file cache keeps, hang on the plugin's origin too."""
    plugin.write_text(READER)
    (tmp_path / "data").mkdir()
    for number in (1, 2):
        (tmp_path / f"data/{number}.txt").write_text("a b")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsource: {format: texts, path: data}\nsteps: []\n")
    assert run("build", recipe, "--out", tmp_path / "out", "--plugin", plugin).returncode == 0
    assert read_manifest(tmp_path / "out").classes == ["a", "b"]
    plugin.write_text(READER.replace("text.split()", "text.split()[:1]"))
    assert run("build", recipe, "--out", tmp_path / "out", "--plugin", plugin).returncode == 0
    assert read_manifest(tmp_path / "out").classes == ["a"]


def test_a_missing_plugin(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"none\.py: No such file.*Check --plugin"):
        load_plugin(tmp_path / "none.py")


def test_a_plugin_is_loaded_once_and_sent_between_processes(plugin: Path) -> None:
    with OPS.restored(), SOURCES.restored():
        name = load_plugin(plugin)
        assert load_plugin(plugin) == name and origin_of(name).startswith("sha256-")
        assert OPS["invert"].origin == origin_of(name)
        assert str(OPS["invert"]) == f"invert@1+{origin_of(name)}"
        bound = BoundOp("invert", OPS["invert"].params(), 1)
        source = SOURCES["other-hands"](format="other-hands", path=str(plugin.parent), classes=("a",))
        sent = pickle.dumps([bound, source])
    code = f"import pickle; bound, source = pickle.loads({sent!r}); print(bound.op, bound.label, source.adapter())"
    assert in_new_process(code).split() == [
        f"invert@1+{origin_of(name)}",
        "invert.2",
        f"other-hands@7+{origin_of(name)}",
    ]


def test_ops_and_sources_list_plugins_alike(plugin: Path) -> None:
    listed = {page["name"]: page["plugin"] for page in json.loads(run("ops", "--plugin", plugin, "--json").stdout)}
    assert listed["invert"].startswith("sha256-") and listed["hflip"] == ""
    page = run("sources", "other-hands", "--plugin", plugin)
    assert "Hands under another name" in page.stdout and "of the plugin sha256-" in page.stdout


# ---- installed packages ----


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as pip installs into it, with the tutorial's package."""
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE / "augforge_gain", site / "augforge_gain")
    metadata = site / "augforge_gain-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: augforge-gain\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[augforge.ops]\ngain = augforge_gain.gain\n[augforge.sources]\nnpz = augforge_gain.npz\n"
    )
    return site


def test_an_installed_package_is_found(site: Path, tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", range(4))
    recipe = write_recipe(tmp_path / "recipe.yaml", data, ["{op: gain}"], classes="[a, b]")
    code = "from augforge import build; from augforge.ops import OPS; print(OPS['gain'])"
    code += f"; build({str(recipe)!r}, {str(tmp_path / 'out')!r})"
    assert in_new_process(code, site).strip() == "gain@1+augforge-gain-0.1.0"
    assert read_manifest(tmp_path / "out").plugins == {"gain": "augforge-gain-0.1.0"}


def test_the_tutorials_own_tests_pass(site: Path) -> None:
    tests = EXAMPLE / "tests"
    done = in_new_process(
        f"import pytest, sys; print(pytest.main(['-q', '-p', 'no:cacheprovider', {str(tests)!r}]))", site
    )
    assert done.splitlines()[-1] == "0", done


def test_a_broken_package_is_named(site: Path) -> None:
    (site / "augforge_gain/gain.py").write_text("import nothing_of_this_name")
    code = (
        "from augforge.ops import OPS\nfrom augforge.errors import PluginError\n"
        "try:\n    OPS['gain']\nexcept PluginError as error:\n    print(error)"
    )
    said = in_new_process(code, site)
    assert "'gain' of the installed package 'augforge-gain'" in said and "nothing_of_this_name" in said
    assert "uninstall it" in said


def test_own_ops_have_no_origin_and_stay_in_no_id() -> None:
    assert {op.origin for name, op in OPS.items()} == {""}
    assert str(OPS["hflip"]) == f"hflip@{OPS['hflip'].version}"
    assert SOURCES["coco"].adapter() == f"coco@{SOURCES['coco'].adapter_version}"


def test_a_build_without_plugins_names_none(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_hands(tmp_path / "data", [1, 2]), classes="[a, b]")
    build(recipe, tmp_path / "out")
    assert read_manifest(tmp_path / "out").plugins == {}
