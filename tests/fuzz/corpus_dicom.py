"""Valid DICOM: OPT in several transfer syntaxes with its localizer, a DICOMDIR, a tree as AI-READI lays it out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    OphthalmicPhotography8BitImageStorage,
    OphthalmicTomographyImageStorage,
    RLELossless,
)

from tests.fuzz.sample import (
    BIRTH_DATE,
    NAME,
    PATIENT_ID,
    SHAPE,
    SPACING_MM,
    Sample,
    fundus,
    of_files,
    of_folder,
    voxels,
)

SYNTAXES = {
    "raw": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
    "jpegls": JPEGLSLossless,
}


def _uid(*parts: int) -> UID:
    return UID(".".join(map(str, ("1.2.826.0.1.3680043.8.498.77", *parts))))


def _image(storage: UID, pixels: np.ndarray, uid: UID, eye: str, visit: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, uid
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = storage, uid
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, PATIENT_ID, BIRTH_DATE
    data.PatientSex, data.StudyDate, data.StudyTime, data.StudyID = "O", "20240229", "101010", "1"
    data.AccessionNumber = ""
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(visit), _uid(visit, 1)
    data.SeriesNumber, data.InstanceNumber = 1, int(str(uid)[-1])
    data.Modality = "OPT" if storage == OphthalmicTomographyImageStorage else "OP"
    data.Manufacturer, data.ManufacturerModelName = "Fuzz", "Eye"
    data.ImageLaterality = eye
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit, data.PixelRepresentation = 8 * pixels.itemsize - 1, 0
    data.PixelData = pixels.tobytes()
    return data


def _tomography(uid: UID, localizer: UID, eye: str = "R", visit: int = 1) -> FileDataset:
    data = _image(OphthalmicTomographyImageStorage, voxels(), uid, eye, visit)
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(SPACING_MM[1:]), SPACING_MM[0]
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in range(SHAPE[0]):
        place, frame = Dataset(), Dataset()
        place.ReferencedSOPClassUID = OphthalmicPhotography8BitImageStorage
        place.ReferencedSOPInstanceUID = localizer
        place.ReferenceCoordinates = [10.5 + number, 3.5, 10.5 + number, 44.5]
        place.OphthalmicImageOrientation = "LINEAR"
        frame.OphthalmicFrameLocationSequence = [place]
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = frames
    return data


def _localizer(uid: UID, eye: str = "R", visit: int = 1) -> FileDataset:
    data = _image(OphthalmicPhotography8BitImageStorage, fundus(), uid, eye, visit)
    data.PixelSpacing = [0.02, 0.02]
    return data


def _save(data: FileDataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> None:
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        data.compress(syntax, generate_instance_uid=False)
    data.file_meta.TransferSyntaxUID = syntax
    implicit = syntax.is_implicit_VR
    data.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=True)


def dicom_files(folder: Path) -> Iterator[Sample]:
    for number, (name, syntax) in enumerate(SYNTAXES.items(), 1):
        root = folder / name
        root.mkdir()
        opt, ir = _uid(1, 1, number, 1), _uid(1, 1, number, 2)
        _save(_tomography(opt, ir), root / "opt.dcm", syntax)
        _save(_localizer(ir), root / "ir.dcm")
        yield of_files("dicom", root, "opt.dcm", ["ir.dcm"])


def plain_multiframe(folder: Path) -> Iterator[Sample]:
    data = _image(OphthalmicTomographyImageStorage, voxels(np.uint16), _uid(3, 1, 1, 1), "L", 3)
    _save(data, folder / "frames.dcm")
    yield of_files("dicom", folder, "frames.dcm")


def dicom_media(folder: Path) -> Iterator[Sample]:
    medium = FileSet()
    for visit, eye in ((4, "R"), (5, "L")):
        opt, ir = _uid(visit, 1, 1, 1), _uid(visit, 1, 1, 2)
        medium.add(_tomography(opt, ir, eye, visit))
        medium.add(_localizer(ir, eye, visit))
    medium.write(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stem != "DICOMDIR")
    beside = [str(path.relative_to(folder)) for path in files]
    yield of_files("dicomdir", folder, "DICOMDIR", beside)


def aireadi_tree(folder: Path) -> Iterator[Sample]:
    oct_folder, photo_folder = Path("retinal_oct"), Path("retinal_photography")
    volumes, photos = oct_folder / "structural_oct" / "spectralis" / "1001", photo_folder / "ir"
    (folder / volumes).mkdir(parents=True)
    (folder / photos).mkdir(parents=True)
    columns = [
        *("participant_id", "manufacturer", "manufacturers_model_name", "anatomic_region"),
        *("imaging", "laterality", "height", "width", "number_of_frames", "pixel_spacing"),
        *("slice_thickness", "sop_instance_uid", "filepath"),
        *("reference_instance_uid", "reference_filepath"),
    ]
    rows = [columns]
    for visit, eye in ((6, "R"), (7, "L")):
        opt, ir = _uid(visit, 1, 1, 1), _uid(visit, 1, 1, 2)
        volume, photo = volumes / f"1001_{eye}.dcm", photos / f"1001_{eye}_ir.dcm"
        _save(_tomography(opt, ir, eye, visit), folder / volume)
        _save(_localizer(ir, eye, visit), folder / photo)
        device = ["1001", "Heidelberg", "Spectralis", "Macula", "OCT", eye, "64", "48", "3"]
        rows.append(
            [*device, "[0.004, 0.012]", "0.12", opt, f"/{volume}", ir, f"/{photo}"],
        )
    text = "\n".join("\t".join(row) for row in rows) + "\n"
    (folder / oct_folder / "manifest.tsv").write_text(text)
    yield of_folder("aireadi", folder)
