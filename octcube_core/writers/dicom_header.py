"""What all DICOM files of an exam share: patient, study, equipment, eye; and codes.

Without identity, patient and study are empty, every UID is new, the dates that DICOM demands are those of writing, and
Acquisition DateTime, which it also demands, is 1900-01-01; Longitudinal Temporal Information Modified (0028,0303) says
REMOVED, that is, not to believe any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from octcube_core import __version__
from octcube_core.exam import Exam, Laterality
from octcube_core.writers.facts import SYNTHETIC_EYE, is_synthetic

NO_DATE = "19000101"
UNKNOWN = "unknown"
_SIDE: dict[Laterality | None, str] = {"OD": "R", "OS": "L", None: "B"}
_LONG_STRING = 64
# A name of several words comes before the shorter one that it starts with.
_MAKERS = (
    *("Carl Zeiss Meditec", "Carl Zeiss", "Zeiss", "Heidelberg Engineering", "Heidelberg"),
    *("Topcon", "Canon", "Nidek", "Optovue", "Optopol Technology", "Optopol", "Optos", "Tomey"),
    *("Leica Microsystems", "Leica", "Bioptigen", "Huvitz", "iCare", "CenterVue", "Kowa"),
    *("Intalight", "SVision Imaging", "TowardPi", "Visionix", "Haag-Streit", "Moptim"),
)


@dataclass(frozen=True)
class Visit:
    """What the files of one exam have in common."""

    exam: Exam
    keep_identity: bool
    study_uid: str
    frame_of_reference_uid: str
    written: datetime

    @staticmethod
    def of(exam: Exam, keep_identity: bool) -> Visit:
        """Give an exam new UIDs."""
        return Visit(exam, keep_identity, generate_uid(), generate_uid(), datetime.now())

    @property
    def side(self) -> str:
        """R or L; B where the eye is not known, since DICOM has no word for that."""
        return _SIDE[self.exam.laterality]


def new_dataset(visit: Visit, sop_class: UID, number: int, description: str) -> FileDataset:
    """Give a dataset without pixels.

    Parameters
    ----------
    visit : Visit
    sop_class : UID
    number : int
        Of the series, from 1.
    description : str
        What the series is, such as 'IR'.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.InstanceNumber = 1
    dataset.AcquisitionNumber = 1
    synthetic = is_synthetic(visit.exam)
    dataset.SeriesDescription = f"{description} (synthetic)" if synthetic else description
    dataset.ImageComments = f"{description}. {SYNTHETIC_EYE}" if synthetic else description
    dataset.StudyInstanceUID = visit.study_uid
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SeriesNumber = number
    dataset.ContentDate = visit.written.strftime("%Y%m%d")
    dataset.ContentTime = visit.written.strftime("%H%M%S")
    _add_patient(dataset, visit)
    _add_equipment(dataset, visit.exam.device)
    _add_eye(dataset, visit)
    return dataset


def code(concept: Code) -> Dataset:
    """Item of a code sequence."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme_designator
    item.CodeMeaning = concept.meaning
    return item


def code_sequence(*concepts: Code) -> Sequence:
    """Sequence of codes."""
    return Sequence([code(concept) for concept in concepts])


def add_eye_state(dataset: Dataset) -> None:
    """Add what both modules of ophthalmic acquisition parameters ask for, all unknown."""
    dataset.HorizontalFieldOfView = None
    dataset.RefractiveStateSequence = Sequence()
    dataset.EmmetropicMagnification = None
    dataset.IntraOcularPressure = None
    dataset.PupilDilated = None


def as_date(text: str | None) -> str | None:
    """A date as DICOM writes it, from 1950-01-02, 19500102 or these with a time behind; None if it is none."""
    found = re.match(r"(\d{4})-?(\d{2})-?(\d{2})(?!\d)|(\d{8})", text or "")
    date = "".join(part for part in found.groups() if part) if found else ""
    try:
        datetime.strptime(date, "%Y%m%d")
    except ValueError:
        return None
    return date


def _add_patient(dataset: Dataset, visit: Visit) -> None:
    patient = visit.exam.patient
    keep = visit.keep_identity
    dataset.PatientName = _line(patient.name) if keep else ""
    dataset.PatientID = _line(patient.id) if keep else ""
    dataset.PatientBirthDate = (as_date(patient.birth_date) or "") if keep else ""
    dataset.PatientSex = ""
    date = as_date(patient.exam_date) if keep else None
    dataset.StudyDate = date or ""
    dataset.StudyTime = ""
    dataset.AcquisitionDateTime = date or NO_DATE
    dataset.PatientIdentityRemoved = "NO" if keep else "YES"
    if not keep:
        dataset.DeidentificationMethod = "No attribute of the patient or the visit is written"
    dataset.LongitudinalTemporalInformationModified = "UNMODIFIED" if date else "REMOVED"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = ""


def _add_equipment(dataset: Dataset, device: str | None) -> None:
    maker, model = _maker_and_model(_line(device))
    dataset.Manufacturer = maker or UNKNOWN
    dataset.ManufacturerModelName = model or UNKNOWN
    dataset.DeviceSerialNumber = UNKNOWN
    dataset.SoftwareVersions = f"napari-octcube {__version__}"


def _maker_and_model(device: str) -> tuple[str, str]:
    """Two parts that the reader joins with a space again; the second is empty where no maker is known."""
    for maker in _MAKERS:
        if f"{device} ".lower().startswith(f"{maker.lower()} "):
            return device[: len(maker)], device[len(maker) :].strip()[:_LONG_STRING]
    if len(device) <= _LONG_STRING:
        return device, ""
    end = device.rfind(" ", 0, _LONG_STRING + 1)
    end = end if end > 0 else _LONG_STRING
    return device[:end].strip(), device[end:].strip()[:_LONG_STRING].strip()


def _line(text: str | None) -> str:
    """Text without what DICOM takes for the end of a value."""
    return re.sub(r"[\\\x00-\x1f\x7f]", " ", text or "").strip()


def _add_eye(dataset: Dataset, visit: Visit) -> None:
    dataset.ImageLaterality = visit.side
    dataset.AnatomicRegionSequence = code_sequence(codes.SCT.Retina)
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.BurnedInAnnotation = "NO"
