"""The eight diseases of the multi-task classifier as changes of the retina's anatomy.

Each function takes the healthy (or already diseased) retina and changes it in place. Sizes follow what clinicians
see on OCT: drusen of 120-380 um, cysts of 140-400 um, blot haemorrhages of 320-600 um, macular holes of 360-760 um.
Lesions are focal and spread over the macula: in about ``CENTRAL_SHARE`` of the eyes they may cross the line through the
fovea that a single B-scan shows, in the others they keep away from it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from octcube_core.phantom.atrophy import Atrophy
from octcube_core.phantom.fields import Map
from octcube_core.phantom.lesions import Blob, Footprint, Lesions, Region, depth_of
from octcube_core.phantom.retina import NEUROSENSORY, Retina

INNER = ("rnfl", "gcl", "ipl", "inl")
CENTRAL_SHARE = 0.35


def _bump(distance: Map, radius_mm: float) -> Map:
    """1 at the centre, falling smoothly to 0.5 at ``radius_mm``."""
    return np.asarray(np.exp(-np.log(2) * (distance / radius_mm) ** 2), np.float32)


def _plateau(distance: Map, radius_mm: float, edge_mm: float) -> Map:
    """1 inside a disc, 0 outside, with a soft edge."""
    return np.asarray(np.clip((radius_mm - distance) / edge_mm + 0.5, 0, 1), np.float32)


def _place(
    rng: np.random.Generator, within_mm: float, off_line_mm: float = 0.0
) -> tuple[float, float]:
    """A random point (x, z) in mm from the fovea, at least ``off_line_mm`` above or below it."""
    while True:
        x, z = rng.uniform(-within_mm, within_mm, 2).tolist()
        if np.hypot(x, z) <= within_mm and abs(z) >= off_line_mm:
            return float(x), float(z)


def _off_line(rng: np.random.Generator, distance_mm: float) -> float:
    """How far an eye's lesions keep from the line through the fovea."""
    return 0.0 if rng.random() < CENTRAL_SHARE else distance_mm


def diabetic_macular_edema(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """Focal thickening with dark cysts in the inner nuclear and Henle layers, and hard exudates."""
    off_line = _off_line(rng, 1.1)
    for _ in range(int(rng.integers(1, 4))):
        x, z = _place(rng, 1.9, off_line)
        radius = float(rng.uniform(0.4, 0.65))
        bump = _bump(retina.distance(x, z), radius)
        swelling = float(rng.uniform(100, 230))
        for layer, share in (("inl", 0.35), ("opl", 0.15), ("onl", 0.5)):
            retina.thickness[layer] = retina.thickness[layer] + swelling * share * bump
        for _ in range(int(rng.integers(8, 18))):
            cx, cz = x + rng.normal(0, 0.5 * radius), z + rng.normal(0, 0.5 * radius)
            layer = str(rng.choice(["inl", "onl"], p=[0.4, 0.6]))
            half = float(rng.uniform(18, 32) if layer == "inl" else rng.uniform(32, 75))
            lesions.blobs.append(
                Blob("DME", cx, cz, layer, 0.45, float(rng.uniform(0.09, 0.2)), half, 0.08)
            )
        for _ in range(int(rng.integers(3, 9))):
            angle, away = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.9, 1.4)
            exudate = (
                x + away * np.cos(angle),
                z + away * np.sin(angle),
                "opl",
                rng.uniform(0.2, 0.9),
            )
            lesions.blobs.append(
                Blob("DME", *exudate, rng.uniform(0.03, 0.06), 20, 0.95, shadow=0.55)
            )
        where = bump > 0.5
        lesions.regions.append(Region("DME", depth_of("inl"), depth_of("elm"), where))
        lesions.footprints.append(Footprint(bump, -0.06, 0.15))


def macular_degeneration(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """Drusen under the pigment epithelium; some eyes also geographic atrophy or subretinal fluid."""
    kind = rng.choice(["drusen", "atrophy", "fluid"], p=[0.6, 0.15, 0.25])
    off_line = _off_line(rng, 0.95)
    drusen(retina, lesions, rng, off_line)
    if kind == "atrophy":
        area = float(rng.uniform(0.8, 4))
        Atrophy.sample(rng, retina.anatomy, area).add_to(retina, lesions)
    if kind == "fluid":
        x, z = _place(rng, 1.6, off_line)
        fluid = float(rng.uniform(60, 140)) * _bump(
            retina.distance(x, z), float(rng.uniform(0.3, 0.5))
        )
        fluid = np.where(fluid > 12, fluid, 0).astype(np.float32)
        retina.thickness["subretinal_fluid"] = retina.thickness["subretinal_fluid"] + fluid
        lesions.footprints.append(Footprint(fluid / 140, -0.10, 0.08))
        lesions.regions.append(
            Region("AMD", depth_of("subretinal_fluid"), depth_of("rpe"), fluid > 20)
        )


def drusen(
    retina: Retina, lesions: Lesions, rng: np.random.Generator, off_line_mm: float = 0.0
) -> None:
    """Domes under the pigment epithelium, gathered in one or two places."""
    height = np.zeros(retina.shape, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        middle = _place(rng, 1.6, off_line_mm)
        for _ in range(int(rng.integers(9, 18))):
            x, z = rng.normal(middle, 0.38).tolist()
            if abs(z) < 0.5 * off_line_mm:
                continue
            radius = float(rng.uniform(0.08, 0.19))
            dome = np.clip(1 - (retina.distance(x, z) / (1.6 * radius)) ** 2, 0, 1)
            height = np.maximum(height, float(rng.uniform(45, 120)) * dome)
    retina.thickness["drusen"] = retina.thickness["drusen"] + height
    lost = 0.8 * np.clip(height / 60, 0, 1)
    retina.scale_layers(["ellipsoid", "outer_segments", "inner_segments"], 1 - 0.5 * lost)
    lesions.footprints.append(Footprint(np.clip(height / 60, 0, 1), 0.10, 0.12))
    lesions.regions.append(Region("AMD", depth_of("rpe"), depth_of("bruch"), height > 12))


def open_angle_glaucoma(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """An arcuate defect of nerve fibres and ganglion cells on one side of the horizontal raphe."""
    side = 1 if rng.random() < 0.65 else -1  # the inferior half is the more vulnerable one
    angle = np.degrees(
        np.arctan2(retina.z * side, -retina.x * retina.nasal)
    )  # 0 temporal, 90 the half's pole
    radius = np.hypot(retina.x, retina.z)
    first = -2.0 if _off_line(rng, 1.0) == 0 else float(rng.uniform(18, 40))
    last = max(float(rng.uniform(95, 150)), first + 70)
    inside = np.clip((angle - first) / 8, 0, 1) * np.clip((last - angle) / 20, 0, 1)
    inner = float(rng.uniform(0.5, 0.9))
    defect = (inside * np.clip((radius - inner) / 0.25, 0, 1)).astype(np.float32)
    severity = float(rng.uniform(0.75, 0.97))
    retina.scale_layers(["gcl"], 1 - severity * defect)
    retina.scale_layers(["rnfl"], 1 - 0.9 * severity * defect)
    retina.scale_layers(["ipl"], 1 - 0.45 * severity * defect)
    lesions.regions.append(Region("POAG", depth_of("rnfl", -15), depth_of("inl"), defect > 0.5))
    lesions.footprints.append(Footprint(defect, -0.09, 0.0))


def epiretinal_membrane_or_hole(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """A bright wrinkled sheet on the retina that fills the pit, or a full-thickness hole in the fovea."""
    if rng.random() < 0.25:
        _macular_hole(retina, lesions, rng)
        return
    off_line = _off_line(rng, 1.5)
    x, z = _place(rng, 2.0 if off_line else 0.9, off_line)
    size = float(rng.uniform(1.0, 1.3) if off_line else rng.uniform(1.4, 2.0))
    outline = retina.distance(x, z) + 0.2 * retina.field(rng, 1.5)
    patch = _plateau(outline, size, 0.3)
    pit = _bump(retina.distance(0, 0), 0.4)
    retina.thickness["inl"] = retina.thickness["inl"] + (28 + 55 * pit) * patch * rng.uniform(
        0.6, 1.2
    )
    angle, wavelength = rng.uniform(0, np.pi), float(rng.uniform(0.28, 0.5))
    along = retina.x * np.cos(angle) + retina.z * np.sin(angle)
    folds = np.sin(2 * np.pi * along / wavelength + retina.field(rng, 2.0))
    wrinkle = float(rng.uniform(14, 26)) * patch * (1 + folds)
    retina.thickness["rnfl"] = retina.thickness["rnfl"] + 0.6 * wrinkle
    gap = np.clip(retina.field(rng, (0.65, 0.5)) - 0.5, 0, 1) * patch
    retina.thickness["membrane_gap"] = (
        retina.thickness["membrane_gap"] + float(rng.uniform(15, 45)) * gap
    )
    sheet = float(rng.uniform(26, 38)) * (patch > 0.4)
    retina.thickness["membrane"] = retina.thickness["membrane"] + sheet.astype(np.float32)
    sheet_and_folds = depth_of("membrane", -12), depth_of("rnfl", 25)
    lesions.regions.append(Region("ERM/MH", *sheet_and_folds, patch > 0.4))
    lesions.footprints.append(Footprint(patch * (0.7 + 0.3 * folds), 0.16, 0.0))


def _macular_hole(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    radius = float(rng.uniform(0.2, 0.38))
    distance = retina.distance(*rng.normal(0, 0.05, 2))
    hole = _plateau(distance, radius, 0.08)
    cuff = _bump(distance - radius - 0.2, 0.2) * (1 - hole)
    for layer in NEUROSENSORY:
        retina.thickness[layer] = retina.thickness[layer] * (1 - hole)
    retina.thickness["onl"] = retina.thickness["onl"] + 45 * cuff
    retina.thickness["inl"] = retina.thickness["inl"] + 25 * cuff
    for _ in range(int(rng.integers(3, 8))):
        angle, away = rng.uniform(0, 2 * np.pi), radius + rng.uniform(0.1, 0.3)
        cyst = (away * np.cos(angle), away * np.sin(angle), str(rng.choice(["inl", "onl"])), 0.5)
        lesions.blobs.append(Blob("ERM/MH", *cyst, float(rng.uniform(0.05, 0.1)), 22, 0.08))

    def rim(eye: Retina) -> Map:
        surface = eye.top("rnfl").min(axis=1, keepdims=True)
        return np.asarray(np.maximum(surface, eye.bruch - 330))

    lesions.regions.append(Region("ERM/MH", rim, depth_of("rpe"), hole > 0.3))
    lesions.footprints.append(Footprint(hole, 0.15, 0.5))


def diabetic_retinopathy(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """Microaneurysms, dot and blot haemorrhages, and cotton-wool spots, without macular edema."""
    off_line = _off_line(rng, 0.75)
    for _ in range(int(rng.integers(20, 40))):
        layer = str(rng.choice(["ipl", "inl", "opl"]))
        x, z = _place(rng, 2.7, off_line)
        size = float(rng.uniform(0.06, 0.1))
        lesions.blobs.append(
            Blob("DR", x, z, layer, rng.uniform(0.2, 0.8), size, 34, 0.95, shadow=0.7)
        )
    for _ in range(int(rng.integers(14, 26))):
        x, z = _place(rng, 2.7, off_line)
        size = float(rng.uniform(0.16, 0.3))
        lesions.blobs.append(Blob("DR", x, z, "inl", rng.uniform(0, 1), size, 50, 0.9, shadow=0.5))
    for _ in range(int(rng.integers(3, 8))):
        x, z = _place(rng, 2.6, max(off_line, 0.4))
        spot = _bump(retina.distance(x, z), float(rng.uniform(0.2, 0.34)))
        retina.thickness["rnfl"] = retina.thickness["rnfl"] + 55 * spot
        retina.reflectivity["rnfl"] = retina.reflectivity["rnfl"] * (1 + 0.28 * spot)
        retina.shade = retina.shade * (1 - 0.4 * spot)
        lesions.regions.append(Region("DR", depth_of("gcl", -80), depth_of("gcl"), spot > 0.5))
        lesions.footprints.append(Footprint(spot, 0.25, -0.15))


def posterior_vitreous_detachment(
    retina: Retina, lesions: Lesions, rng: np.random.Generator
) -> None:
    """The hyaloid as a thin bright sheet in front of the retina, free or still attached at the fovea."""
    away = float(rng.uniform(70, 330))
    attached = rng.random() < 0.5
    distance = np.hypot(retina.x, retina.z)
    lift = away * (1 - np.exp(-((distance / rng.uniform(1.0, 1.8)) ** 2)) if attached else 1.0)
    lift = lift + 22 * retina.field(rng, 2.0) * np.clip(lift / 60, 0, 1)
    top = retina.top("membrane")
    # The free sheet does not follow the pit beneath it.
    smooth_top = top - 60 * np.exp(-((distance / 0.5) ** 2)) * (0 if attached else 1)
    height = float(rng.uniform(13, 22))
    visible = np.clip(1 + 0.5 * retina.field(rng, (2.0, 1.2)), 0, 1) * (lift > 18)
    gain = (float(rng.uniform(0.22, 0.42)) * visible).astype(np.float32)
    sheet = (smooth_top - np.maximum(lift, 0) - height).astype(np.float32)
    retina.add_band(sheet, np.full(retina.shape, height, np.float32), gain)
    region = Region("PVD", lambda _: sheet - 15, lambda _: sheet + height + 15, gain > 0.08)
    lesions.regions.append(region)


def retinal_vascular_occlusion(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """Artery: bright swollen inner retina. Vein: inner haemorrhages with shadows over a mild swelling."""
    spread = np.full(retina.shape, 1.0, np.float32)
    if rng.random() < 0.7:  # only a branch, and what it feeds on one side of the horizontal raphe
        side = 1 if rng.random() < 0.5 else -1
        border = float(rng.uniform(0.3, 0.9)) - 0.25 * retina.field(rng, 1.5)
        spread = np.clip((retina.z * side - border) / 0.4 + 0.5, 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        for layer in INNER:
            retina.thickness[layer] = retina.thickness[layer] * (
                1 + float(rng.uniform(0.2, 0.45)) * spread
            )
            lit = np.maximum(retina.reflectivity[layer] * 1.12, float(rng.uniform(0.62, 0.74)))
            blended = retina.reflectivity[layer] * (1 - spread) + lit * spread
            retina.reflectivity[layer] = blended.astype(np.float32)
        retina.shade = retina.shade * (1 - float(rng.uniform(0.15, 0.35)) * spread)
        lesions.footprints.append(Footprint(spread, 0.14, -0.10))
    else:
        retina.scale_layers(["inl", "onl"], 1 + float(rng.uniform(0.25, 0.6)) * spread)
        for _ in range(int(rng.integers(14, 30))):
            row, column = (
                int(share * size) for share, size in zip(rng.random(2), spread.shape, strict=True)
            )
            # Drawn whether it is used or not, so that every grid of the same eye has the same ones.
            radius = float(rng.uniform(0.15, 0.35))
            if spread[row, column] < 0.5:
                continue
            x, z = float(retina.x[row, column]), float(retina.z[row, column])
            lesions.blobs.append(Blob("CRAO/CRVO", x, z, "rnfl", 0.6, radius, 32, 0.8, shadow=0.4))
        lesions.footprints.append(Footprint(spread, -0.12, -0.12))
    lesions.regions.append(Region("CRAO/CRVO", depth_of("rnfl"), depth_of("opl"), spread > 0.5))


def retinal_neovascularization(retina: Retina, lesions: Lesions, rng: np.random.Generator) -> None:
    """Fronds of new vessels that grow from the retina into the vitreous and cast shadows."""
    off_line = _off_line(rng, 1.2)
    for _ in range(int(rng.integers(2, 5))):
        x, z = _place(rng, 2.5, off_line)
        radius = float(rng.uniform(0.25, 0.45))
        height = float(rng.uniform(90, 190))
        for _ in range(int(rng.integers(6, 12))):
            part = (x + rng.normal(0, 0.5 * radius), z + rng.normal(0, 0.5 * radius), "rnfl", 0.0)
            lift = -float(rng.uniform(0.1, 0.9)) * height
            size = (radius * float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.2, 0.45)) * height)
            value = float(rng.uniform(0.55, 0.8))
            lesions.blobs.append(Blob("RNV", *part, *size, value, shadow=0.7, lift_um=lift))
        lesions.footprints.append(Footprint(_bump(retina.distance(x, z), radius), -0.1, -0.12))


Disease = Callable[[Retina, Lesions, np.random.Generator], None]

# In the order of the released multi-task classifier's outputs.
DISEASE_MODELS: dict[str, Disease] = {
    "DME": diabetic_macular_edema,
    "AMD": macular_degeneration,
    "POAG": open_angle_glaucoma,
    "ERM/MH": epiretinal_membrane_or_hole,
    "DR": diabetic_retinopathy,
    "PVD": posterior_vitreous_detachment,
    "CRAO/CRVO": retinal_vascular_occlusion,
    "RNV": retinal_neovascularization,
}
