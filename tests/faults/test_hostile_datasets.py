"""Forged datasets: every command ends soon and with a clear error, or as it should, and writes nothing outside."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from forging import Forgery
from hostilecommands import commands_fixture  # noqa: F401
from hostiledatasets import DATASETS, forge
from toybox import made, tiny_hands
from watching import Commands, check, contents

QUICK = ("split-in-all", "fitted-bomb", "rows-many", "sample-escapes", "bytes-terabytes", "frame-terabytes")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in DATASETS if name not in QUICK]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small dataset, ``toy``, a recipe that takes it as its source, and a file outside."""
    root = tmp_path_factory.mktemp("sound")
    data = tiny_hands(root / "data", [40, 90, 200])
    steps = ["{op: hflip, keep_input: true}", "{op: mosaic, copies: 1, keep_input: true}"]
    made(root, data, steps, "toy", classes="[a, b]", split="{val: [ID002]}")
    (root / "next.yaml").write_text("name: next\nsource: {format: dataset, path: toy}\nsteps: []\n")
    (root / "outside").mkdir()
    (root / "outside/canary.txt").write_text("alive")
    return root


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_every_command_is_safe(name: str, sound: Path, commands: Commands, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "root"))
    sample = "ID001/image0000000000001"
    forge(Forgery(root / "toy"), DATASETS[name])
    before = contents(tmp_path, [root / "out", root / "toy/work"])
    orders: list[list[str | Path]] = [
        ["inspect", "toy"],
        ["inspect", "toy", "--json"],
        ["verify", "toy", "--pixels"],
        ["show", "toy", "-o", "out/show.png"],
        ["log", "toy"],
        ["trace", "toy", sample],
        ["trace", "toy", f"{sample}~hflip"],
        ["diff", sound / "toy", "toy"],
        ["files", "toy"],
        *([*("export", "toy", "--to", to, "-o"), Path("out", to)] for to in ("coco", "mask-folder", "webdataset")),
        ["build", "next.yaml", "-o", "out/next", "--dry-run"],
        ["build", "next.yaml", "-o", "out/next"],
    ]
    check(orders, commands.run(*orders, folder=root))
    # `verify` forgets what the cache in work/ says of shards that it refutes.
    assert contents(tmp_path, [root / "out", root / "toy/work"]) == before
