"""Puts napari.yaml of the repository root into napari_octcube, where npe2 looks for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MANIFEST = "napari.yaml"
IN_PACKAGE = f"napari_octcube/{MANIFEST}"


class ManifestHook(BuildHookInterface):
    """A wheel takes a copy; an editable install gets a link, so that editing the one manifest is enough."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        if version == "editable":
            link_manifest(Path(self.root))
        else:
            build_data["force_include"][MANIFEST] = IN_PACKAGE


def link_manifest(root: Path) -> None:
    link = root / IN_PACKAGE
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(Path("..") / MANIFEST)
    except OSError:  # Windows without the right to make links: a copy, renewed by each install
        shutil.copyfile(root / MANIFEST, link)
