"""A folder laid out like the AI-READI data set, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

RNG = np.random.default_rng(3)
DEVICES = {"heidelberg_spectralis": ("Heidelberg", "Spectralis"), "icare_eidon": ("iCare", "Eidon")}
OCT_COLUMNS = """
person_id manufacturer manufacturers_model_name anatomic_region imaging laterality height width
number_of_frames pixel_spacing slice_thickness sop_instance_uid filepath reference_instance_uid
reference_filepath
"""
PHOTOGRAPHY_COLUMNS = """
person_id manufacturer manufacturers_model_name laterality anatomic_region imaging height width
color_channel_dimension sop_instance_uid filepath
"""


def save(path: Path, pixels, sop_class, person, eye, **elements):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid.generate_uid()
    dataset.PatientID, dataset.PatientName = person, person
    dataset.StudyInstanceUID, dataset.ImageLaterality = uid.generate_uid(), eye
    dataset.Manufacturer, dataset.ManufacturerModelName = "Heidelberg Engineering", "Spectralis"
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def frame_groups(reference: str, frames: int):
    """Shared spacing, and for each frame a horizontal line on the photograph."""
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.004, 0.012], 0.12
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    groups = []
    for frame in range(frames):
        location = Dataset()
        location.ReferencedSOPClassUID = uid.OphthalmicPhotography8BitImageStorage
        location.ReferencedSOPInstanceUID = reference
        row = 10.0 + 10 * frame
        location.ReferenceCoordinates = [row, 4.0, row, 36.0]
        location.OphthalmicImageOrientation = "LINEAR"
        group = Dataset()
        group.OphthalmicFrameLocationSequence = [location]
        groups.append(group)
    return {
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": groups,
    }


class DataSet:
    """Writes a copy of the layout, row by row."""

    def __init__(self, root: Path):
        self.root = root
        self.octs: list[dict[str, str]] = []
        self.photographs: list[dict[str, str]] = []

    def photograph(self, person, eye, kind="ir", region="Macula", grey=7, listed_eye=None):
        imaging = {
            "ir": "Infrared Reflectance",
            "faf": "Autofluorescence",
            "cfp": "Color Photography",
        }[kind]
        device = "icare_eidon" if kind == "faf" else "heidelberg_spectralis"
        number = len(self.photographs)
        where = f"retinal_photography/{kind}/{device}/{person}/{person}_{number}_{kind}_{eye.lower()}.dcm"
        pixels = np.full((40, 40), grey, np.uint8)
        sop = uid.OphthalmicPhotography8BitImageStorage
        instance = save(self.root / where, pixels, sop, person, eye)
        maker, model = DEVICES[device]
        self.photographs.append(
            {
                "person_id": person,
                "manufacturer": maker,
                "manufacturers_model_name": model,
                "laterality": listed_eye or eye,
                "anatomic_region": region,
                "imaging": imaging,
                "sop_instance_uid": instance,
                "filepath": f"/{where}",
            }
        )
        return instance, where

    def oct(self, person, eye, reference=("", ""), region="Macula", **row):
        voxels = RNG.integers(0, 256, (3, 16, 20), dtype=np.uint8)
        name = f"{person}_spectralis_{len(self.octs)}_oct_{eye.lower()}.dcm"
        where = f"retinal_oct/structural_oct/heidelberg_spectralis/{person}/{name}"
        sop = uid.OphthalmicTomographyImageStorage
        groups = frame_groups(reference[0], 3) if reference[0] else {}
        instance = save(self.root / where, voxels, sop, person, eye, **groups)
        stated = {
            "person_id": person,
            "manufacturer": "Heidelberg",
            "manufacturers_model_name": "Spectralis",
            "anatomic_region": region,
            "imaging": "OCT",
            "laterality": eye,
            "height": "16",
            "width": "20",
            "number_of_frames": "3",
            "pixel_spacing": "[0.004, 0.012]",
            "slice_thickness": "0.12",
            "sop_instance_uid": instance,
            "filepath": f"/{where}",
            "reference_instance_uid": reference[0],
            "reference_filepath": f"/{reference[1]}" if reference[1] else "",
        }
        self.octs.append(stated | row)
        return self.root / where

    def write(self, suffix="tsv", separator="\t", line="\n", encoding="utf-8", rename=()):
        tables = {
            "retinal_oct": (OCT_COLUMNS, self.octs),
            "retinal_photography": (PHOTOGRAPHY_COLUMNS, self.photographs),
        }
        for folder, (names, rows) in tables.items():
            columns = names.split()
            header = [dict(rename).get(column, column) for column in columns]
            lines = [header, *([row.get(column, "") for column in columns] for row in rows)]
            quoted = [
                separator.join(f'"{cell}"' if separator in cell else cell for cell in cells)
                for cells in lines
            ]
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            text = line.join(quoted) + line
            (self.root / folder / f"manifest.{suffix}").write_bytes(text.encode(encoding))
        return self.root
