"""docs/commands.md, docs/configuration.md and docs/recipe.md are what the code says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "docs"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", FOLDER / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()


@pytest.mark.parametrize("name", sorted(SCRIPT.PAGES))
def test_the_page_is_the_scripts(name: str) -> None:
    message = f"docs/{name} is not what `make docs` writes. Run it"
    assert (FOLDER / name).read_text(encoding="utf-8") == SCRIPT.PAGES[name](), message


def test_every_command_and_option_is_there() -> None:
    page = (FOLDER / "commands.md").read_text(encoding="utf-8")
    for name, function in SCRIPT._functions():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in SCRIPT._parameters(function):
            assert (parameter.info.help or "") in section, (name, parameter.name)
    assert "`-o`, `--out PATH`" in page
    assert "`--shards DATASET [DATASET]...`" in page
    assert "--output" not in page


def test_every_key_of_the_configuration_is_there() -> None:
    page = (FOLDER / "configuration.md").read_text(encoding="utf-8")
    keys = {*SCRIPT.TrainConfig.model_fields}
    for section, model in SCRIPT._sections():
        keys |= {*model.model_fields}
        assert f"\n## {section}\n" in page
    for key in keys:
        assert f"`{key}`" in page, key


def test_every_key_of_a_recipe_is_there_with_its_meaning() -> None:
    page = (FOLDER / "recipe.md").read_text(encoding="utf-8")
    models = [SCRIPT.RecipeKeys, SCRIPT.Split, SCRIPT.StepKeys, SCRIPT.Output, SCRIPT.Accept, SCRIPT.MetadataColumns]
    for model in [
        *models,
        SCRIPT.Verdict,
        SCRIPT.Join,
        SCRIPT.GroupBy,
        *map(SCRIPT.SOURCES.__getitem__, SCRIPT.SOURCES),
    ]:
        for key in model.model_fields:
            assert f"\n| `{key}` | " in page, (model.__name__, key)
    meanings = [
        line.rsplit(" | ", 1)[-1].removesuffix("|").strip() for line in page.splitlines() if line.startswith("| `")
    ]
    assert len(meanings) > 100 and all(meanings)
    for name in SCRIPT.SOURCES:
        assert not SCRIPT._own_keys(SCRIPT.SOURCES[name]) or f"### format: {name}\n" in page, name
