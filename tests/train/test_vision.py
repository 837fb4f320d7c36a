"""SMP and timm load, beside a whole torchvision and beside one whose compiled part does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from augforge.errors import MissingExtra
from augforge.train.net import vision

STAND_IN = """
import torch
{first}
@torch.library.register_fake("torchvision::nms")
def fake(dets, scores, iou_threshold): ...
"""
WHOLE = """
kept = torch.library.Library("torchvision", "DEF")
kept.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter that finds the modules of a folder first; warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(Path.cwd())])}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_smp_and_timm_are_the_modules_however_often_they_are_asked_for(tmp_path: Path) -> None:
    found = python(
        "from augforge.train.net.vision import smp, timm\n"
        "smp(), timm()\n"
        "import segmentation_models_pytorch, timm as plain, torchvision\n"
        "assert smp() is segmentation_models_pytorch and timm() is plain and plain.optim.list_optimizers()\n",
        tmp_path,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(("first", "declared"), [(WHOLE, False), ("", True)])
def test_operators_are_declared_only_where_they_are_missing(tmp_path: Path, first: str, declared: bool) -> None:
    (tmp_path / "torchvision.py").write_text(STAND_IN.format(first=first))
    found = python(
        "import gc, torch\n"
        "from augforge.train.net.vision import _load_torchvision as load\n"
        "load(), load(), gc.collect()\n"
        "import torchvision\n"
        "print(torchvision.fake.__name__, torch.ops.torchvision.nms.default, hasattr(torch.ops.torchvision, 'qnms'))\n",
        tmp_path,
    )
    assert found.stdout == f"fake torchvision.nms.default {declared}\n", found.stderr


@pytest.mark.parametrize("failure", ["RuntimeError('compiled for CUDA 12')", "ImportError('libjpeg')"])
def test_other_failures_of_torchvision_are_not_hidden(tmp_path: Path, failure: str) -> None:
    (tmp_path / "torchvision.py").write_text(f"raise {failure}\n")
    found = python("from augforge.train.net.vision import smp\nsmp()", tmp_path)
    assert found.stderr.rstrip().endswith(failure.replace("('", ": ").replace("')", ""))


@pytest.mark.parametrize(
    ("module", "package"), [("segmentation_models_pytorch", "segmentation-models-pytorch"), ("timm", "timm")]
)
def test_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, module: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"needs {package}, which is not installed.*augforge\[train\]"):
        vision._load.__wrapped__(module)


def test_a_missing_package_of_somebody_else_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        vision._load.__wrapped__("needy")
