"""How far a disease has gone: its marks on a healthy eye made weaker or stronger."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from octcube_core.phantom.fields import Map
from octcube_core.phantom.lesions import Footprint, Lesions
from octcube_core.phantom.retina import VITREOUS, Retina

LEAST, MOST = 0.2, 1.6


@dataclass(frozen=True, eq=False)
class Before:
    """A retina before a disease, to which its marks are relative."""

    thickness: dict[str, Map]
    reflectivity: dict[str, Map]
    shade: Map
    bands: int
    blobs: int
    footprints: int

    @classmethod
    def of(cls, retina: Retina, lesions: Lesions) -> Before:
        """Remember a retina; diseases put new arrays in the place of the old ones, so none is copied."""
        return cls(
            dict(retina.thickness),
            dict(retina.reflectivity),
            retina.shade,
            len(retina.bands),
            len(lesions.blobs),
            len(lesions.footprints),
        )

    def scale(self, retina: Retina, lesions: Lesions, severity: float) -> None:
        """Make everything that came since then ``severity`` times as strong; the area it covers hardly changes."""
        if severity == 1:
            return
        by = float(np.clip(severity, LEAST, MOST))
        for old, new in (
            (self.thickness, retina.thickness),
            (self.reflectivity, retina.reflectivity),
        ):
            for name, values in old.items():
                if new[name] is not values:
                    changed = np.maximum(values + by * (new[name] - values), 0)
                    new[name] = changed.astype(np.float32)
        if retina.shade is not self.shade:
            retina.shade = np.clip(self.shade + by * (retina.shade - self.shade), 0, 1)
        for number in range(self.bands, len(retina.bands)):
            top, height, gain = retina.bands[number]
            retina.bands[number] = (top, height, np.asarray(gain * by, np.float32))
        for number in range(self.blobs, len(lesions.blobs)):
            blob = lesions.blobs[number]
            lesions.blobs[number] = replace(
                blob,
                radius_mm=blob.radius_mm * np.sqrt(by),
                half_height_um=blob.half_height_um * np.sqrt(by),
                value=max(VITREOUS, 0.5 + (blob.value - 0.5) * by),
                shadow=float(np.clip(1 - (1 - blob.shadow) * by, 0.1, 1)),
            )
        for number in range(self.footprints, len(lesions.footprints)):
            mark = lesions.footprints[number]
            lesions.footprints[number] = Footprint(
                mark.where, mark.ir_gain * by, max(mark.faf_gain * by, -0.95)
            )
