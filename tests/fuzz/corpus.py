"""The corpus: a valid file or more of each format, made anew for each run, and what the readers say of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.fuzz import corpus_arrays, corpus_devices, corpus_dicom
from tests.fuzz.judge import digest, has_blank_part, open_all
from tests.fuzz.sample import Sample

Maker = Callable[[Path], Iterator[Sample]]

# Key of the format on the command line -> the module below octcube_core.readers that reads it.
MODULES = {
    "dicom": "dicom",
    "dicomdir": "dicom_series",
    "aireadi": "aireadi",
    "vol": "heyex_vol",
    "xml": "heyex_xml",
    "e2e": "heyex_e2e",
    "topcon": "topcon",
    "img": "cirrus_img",
    "mat": "matlab",
    "mat73": "matlab",
    "mhd": "metaimage",
    "nii": "nifti",
    "npz": "numpy_archive",
    "npy": "numpy_file",
    "tif": "tiff",
    "picture": "image",
    "folder": "folder",
    "tree": "tree",
}
MAKERS: tuple[Maker, ...] = (
    corpus_dicom.dicom_files,
    corpus_dicom.plain_multiframe,
    corpus_dicom.dicom_media,
    corpus_dicom.aireadi_tree,
    corpus_devices.vol_files,
    corpus_devices.xml_exports,
    corpus_devices.e2e_files,
    corpus_devices.topcon_files,
    corpus_devices.cirrus_files,
    corpus_devices.real_files,
    corpus_arrays.matlab_files,
    corpus_arrays.matlab_73_files,
    corpus_arrays.meta_images,
    corpus_arrays.nifti_files,
    corpus_arrays.numpy_archives,
    corpus_arrays.numpy_files,
    corpus_arrays.tiff_files,
    corpus_arrays.pictures,
    corpus_arrays.folders,
    corpus_arrays.folders_of_exams,
)


def build(folder: Path) -> tuple[list[Sample], list[str]]:
    """Make the corpus in a folder.

    Returns
    -------
    samples : list of Sample
        Ordered by format; with what each gives undamaged.
    notes : list of str
        What could not be made or does not open undamaged.
    """
    samples: list[Sample] = []
    notes: list[str] = []
    for maker in MAKERS:
        place = folder / maker.__name__
        place.mkdir()
        try:
            samples.extend(maker(place))
        except ImportError as error:
            notes.append(f"{maker.__name__}: not made, as {error.name} is not installed")
    opened = [_opened(sample, notes) for sample in samples]
    made = {sample.format for sample in samples}
    notes.extend(f"{key}: no valid file to start from" for key in MODULES if key not in made)
    notes.extend(
        f"{key}: the reader {module} does not exist"
        for key, module in MODULES.items()
        if importlib.util.find_spec(f"octcube_core.readers.{module}") is None
    )
    return sorted(opened, key=lambda sample: list(MODULES).index(sample.format)), notes


def _opened(sample: Sample, notes: list[str]) -> Sample:
    exams, refusals = open_all(sample.root / sample.opened, sample.options)
    for _, error in refusals:
        name = sample.opened or sample.root.name
        notes.append(f"{sample.format}: {name} does not open undamaged: {error}")
    # JPEG has no checksum: decoders go on behind damage in grey, and nothing shows that they did.
    checked = not sample.opened.endswith(".jpg")
    noisy = bool(exams) and checked and not any(has_blank_part(exam) for exam in exams)
    return replace(sample, exams=tuple(digest(exam) for exam in exams), noisy=noisy)
