"""What an installation consists of: the wheel, the editable install, the declared dependencies."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("napari_octcube", "octcube_core", "train")
OPTIONAL = {"flash_attn", "h5py", "nibabel", "peft"}  # the extras "flash", "formats" and "lora"

WHICH_MANIFEST = """
from npe2 import PluginManifest
import octcube_core
from_file, files = PluginManifest.from_file, []
PluginManifest.from_file = lambda path: files.append(path) or from_file(path)
manifest = PluginManifest.from_distribution("napari-octcube")
print(len(manifest.contributions.commands), *files, octcube_core.__file__, sep="\\n")
"""

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="needs a source checkout"
)


def _python(*arguments: str, path: Path | None = None, cwd: Path | None = None) -> str:
    """Output of a fresh interpreter that sees ``path`` before everything else."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    run = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds nothing but our wheel, built from this checkout and installed."""
    dist, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    _python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(ROOT))
    (wheel,) = dist.glob("*.whl")
    _python("-m", "pip", "install", "--no-deps", "--quiet", "--target", str(target), str(wheel))
    return target


def test_the_wheel_registers_its_own_manifest_with_napari(
    installed_wheel: Path, tmp_path: Path
) -> None:
    out = _python("-c", WHICH_MANIFEST, path=installed_wheel, cwd=tmp_path)
    _, manifest, core = out.splitlines()
    assert Path(manifest) == installed_wheel / "napari_octcube" / "napari.yaml"
    assert Path(core).is_relative_to(installed_wheel)
    assert Path(manifest).read_bytes() == (ROOT / "napari.yaml").read_bytes()
    said = _python("-m", "npe2", "validate", "napari-octcube", path=installed_wheel, cwd=tmp_path)
    assert "valid!" in said


def test_the_editable_install_registers_the_manifest_of_this_folder(tmp_path: Path) -> None:
    distribution = metadata.distribution("napari-octcube")
    if '"editable": true' not in (distribution.read_text("direct_url.json") or ""):
        pytest.skip("napari-octcube is not installed editable here")
    count, manifest, core = _python("-c", WHICH_MANIFEST, cwd=tmp_path).splitlines()
    assert Path(manifest).resolve() == ROOT / "napari.yaml" or sys.platform == "win32"
    assert Path(core) == ROOT / "octcube_core" / "__init__.py"
    commands = (ROOT / "napari.yaml").read_text().count("- id: napari-octcube.")
    assert count == str(commands)
    assert "valid!" in _python("-m", "npe2", "validate", "napari-octcube", cwd=tmp_path)


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(installed_wheel: Path) -> None:
    ours = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    installed = {
        file.relative_to(installed_wheel).as_posix()
        for file in installed_wheel.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    installed = {name for name in installed if name.split("/")[0] not in ("bin", "Scripts")}
    installed = {name for name in installed if ".dist-info/" not in name}
    assert installed == ours | {"napari_octcube/napari.yaml"}


@pytest.mark.parametrize(
    "file",
    [
        "octcube_core/checkpoints/demo.safetensors",
        "octcube_core/py.typed",
        "train/configs/family/finetune_diseases.yaml",
    ],
)
def test_the_wheel_holds_what_is_no_python(installed_wheel: Path, file: str) -> None:
    assert (installed_wheel / file).stat().st_size == (ROOT / file).stat().st_size


def test_the_commands_are_installed(installed_wheel: Path) -> None:
    entry_points = (
        metadata.Distribution.at(next(installed_wheel.glob("*.dist-info")))
    ).entry_points
    commands = {entry.name: entry.value for entry in entry_points.select(group="console_scripts")}
    assert commands == {
        "octcube": "octcube_core.cli:main",
        "octcube-viewer": "napari_octcube.__main__:main",
    }


def _imported(package: str) -> set[str]:
    """Top-level names that a package's files import from elsewhere."""
    names: set[str] = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(PACKAGES) - OPTIONAL


def _normal(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


@pytest.mark.parametrize(
    ("package", "extras"),
    [("octcube_core", ("map", "server")), ("napari_octcube", ()), ("train", ("train",))],
)
def test_what_is_imported_is_declared(package: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    declared = {_normal(requirement) for requirement in requirements}
    providers = metadata.packages_distributions()
    undeclared = {
        name
        for name in _imported(package)
        if declared.isdisjoint(map(_normal, providers.get(name, [name])))
    }
    assert undeclared == set()


def test_the_base_installation_brings_no_qt_binding() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = " ".join(project["dependencies"]).lower()
    assert not re.search(r"pyqt|pyside|napari\[", text)
