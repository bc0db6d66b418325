"""DICOM files for tests: volumes, fundus photographs, and the sequences inside them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam

OPT = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
VOXELS = np.random.default_rng(5).integers(0, 256, (4, 40, 48), dtype=np.uint8)


def item(**elements) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def sequence(**elements) -> Sequence:
    return Sequence([item(**elements)])


def pixel_measures(**elements) -> Dataset:
    return item(PixelMeasuresSequence=sequence(**elements))


def opt(voxels=VOXELS, **elements) -> FileDataset:
    """A conformant Ophthalmic Tomography file, as far as reading it goes."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = OPT
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = voxels.dtype.itemsize * 8
    defaults = {
        "SOPClassUID": OPT,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "OPT",
        "PatientName": "Secretname^Jane",
        "PatientID": "ID4711",
        "PatientBirthDate": "19500102",
        "StudyDate": "20240304",
        "AcquisitionDateTime": "20240304101112.000000",
        "InstitutionName": "Secretclinic",
        "Manufacturer": "Heidelberg Engineering",
        "ManufacturerModelName": "Spectralis",
        "ImageLaterality": "L",
        "NumberOfFrames": len(voxels),
        "Rows": voxels.shape[1],
        "Columns": voxels.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PixelData": voxels.tobytes(),
        "SharedFunctionalGroupsSequence": Sequence(
            [pixel_measures(PixelSpacing=[0.00387, 0.0058], SpacingBetweenSlices=0.122)]
        ),
    }
    for keyword, value in (defaults | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def shared(**measures):
    return Sequence([pixel_measures(**measures)])


OP8 = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
OP16 = "1.2.840.10008.5.1.4.1.1.77.1.5.2"
EN_FACE = "1.2.840.10008.5.1.4.1.1.77.1.5.7"
STUDY = "1.2.826.0.1.3680043.8.498.1"
SERIES = "1.2.826.0.1.3680043.8.498.2"
PIXELS = np.random.default_rng(6).integers(0, 256, (60, 80), dtype=np.uint8)


def photograph(pixels=PIXELS, **elements) -> FileDataset:
    """A fundus photograph of the same patient, study and eye as `opt`, grey or RGB."""
    colour = pixels.ndim == 3
    defaults = {
        "SOPClassUID": OP8 if pixels.dtype == np.uint8 else OP16,
        "Modality": "OP",
        "NumberOfFrames": 1,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None,
        "PixelData": pixels.tobytes(),
        "StudyInstanceUID": STUDY,
        "SharedFunctionalGroupsSequence": None,
    }
    dataset = opt(pixels[np.newaxis], **(defaults | elements))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    return dataset


def infrared(pixels=PIXELS, **elements) -> FileDataset:
    """A photograph that says it is infrared."""
    return photograph(
        pixels, ChannelDescriptionCodeSequence=code("414497003", "Infrared"), **elements
    )


def code(value, meaning, scheme="SCT") -> Sequence:
    return sequence(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def place(instance, coordinates, orientation="LINEAR", **elements) -> Dataset:
    """An item of the Ophthalmic Frame Location Sequence."""
    return item(
        ReferencedSOPClassUID=OP8,
        ReferencedSOPInstanceUID=instance,
        ReferenceCoordinates=list(coordinates),
        OphthalmicImageOrientation=orientation,
        **elements,
    )


def placed(*items) -> Dataset:
    """A functional group with the places of one frame."""
    return item(OphthalmicFrameLocationSequence=Sequence(items))


def scan_on(localizer, coordinates, voxels=None, **elements) -> FileDataset:
    """A volume whose frames lie at ``coordinates`` of a photograph."""
    groups = [placed(place(localizer.SOPInstanceUID, line)) for line in coordinates]
    if voxels is None:
        voxels = np.random.default_rng(8).integers(0, 256, (len(groups), 40, 48), dtype=np.uint8)
    defaults = {
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "PerFrameFunctionalGroupsSequence": Sequence(groups),
    }
    return opt(voxels, **(defaults | elements))


def save(dataset, path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


# Four lines of 47 pixels, 8 apart, on an image of 60 x 80 pixels of 0.01 mm; 48 A-scans.
LINES = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(4)]
FUNDUS_MM = [0.01, 0.01]
MEASURES = {"PixelSpacing": [0.004, 0.01], "SpacingBetweenSlices": 0.08}


def read_with(folder, localizer, volume):
    save(localizer, folder / "ir.dcm")
    return read_exam(save(volume, folder / "oct.dcm"))


def read_lines(folder, coordinates=LINES, fundus_mm=FUNDUS_MM, measures=MEASURES, **elements):
    localizer = infrared(PixelSpacing=fundus_mm)
    groups = shared(**measures) if measures else None
    volume = scan_on(localizer, coordinates, SharedFunctionalGroupsSequence=groups, **elements)
    return read_with(folder, localizer, volume)


def refuse(path, told=""):
    start = time.perf_counter()
    with pytest.raises(ExamReadError, match=told or None) as caught:
        read_exam(path)
    assert time.perf_counter() - start < 5
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    assert text.endswith(".")
    return text


def compressed(syntax, voxels=VOXELS, **elements):
    dataset = opt(voxels)
    dataset.compress(syntax, generate_instance_uid=False)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset
