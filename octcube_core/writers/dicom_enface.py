"""An en-face image as an Ophthalmic Photography Image of 8 or 16 bits (PS3.3 A.41, A.42).

What tells the modalities apart, beside Series Description and Image Comments:

====  ============  =============================  ==============================================
      Image Type 4  Acquisition Device Type        and
====  ============  =============================  ==============================================
IR    IR            scanning laser ophthalmoscope  Channel Description: infrared
FAF   AF            scanning laser ophthalmoscope  Light and Image Path Filter Type: blue, yellow-green
CFP   COLOR         fundus camera                  Channel Description: full spectrum where grey
FA    FA            scanning laser ophthalmoscope  Contrast/Bolus Agent: fluorescein
ICGA  ICG           scanning laser ophthalmoscope  Contrast/Bolus Agent: indocyanine green
OCT   OCT           OCT scanner                    Ophthalmic Image Type: structural reflectance map
====  ============  =============================  ==============================================

The class for OCT projections (…77.1.5.7) demands the surfaces between which they were made, which no exam holds.
"""

from __future__ import annotations

from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    OphthalmicPhotography8BitImageStorage,
    OphthalmicPhotography16BitImageStorage,
)
from pydicom.valuerep import DSfloat

from octcube_core.exam import EnFaceImage, Modality
from octcube_core.readers.dicom_private import write_private
from octcube_core.writers.dicom_header import Visit, add_eye_state, code_sequence, new_dataset
from octcube_core.writers.dicom_pixels import StoredPixels, add_pixels, value_mapping

_IMAGE_TYPE: dict[Modality, str] = {
    "IR": "IR",
    "FAF": "AF",
    "CFP": "COLOR",
    "FA": "FA",
    "ICGA": "ICG",
    "OCT": "OCT",
}
_DEVICE: dict[Modality, Code] = {
    "CFP": codes.SCT.FundusCamera,
    "OCT": codes.SCT.OpticalCoherenceTomographyScanner,
}
_AGENT: dict[Modality, Code] = {
    "FA": codes.SCT.Fluorescein,
    "ICGA": codes.SCT.IndocyanineGreen,
}
_FRAME_TIME_VECTOR = 0x00181065


def enface_dataset(
    visit: Visit, image: EnFaceImage, pixels: StoredPixels, number: int
) -> FileDataset:
    """Everything of the file but Pixel Data; ``number`` is that of the series."""
    deep = pixels.values.itemsize == 2
    sop_class = (
        OphthalmicPhotography16BitImageStorage if deep else OphthalmicPhotography8BitImageStorage
    )
    dataset = new_dataset(visit, sop_class, number, _description(image.modality))
    dataset.Modality = "OP"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "", _IMAGE_TYPE[image.modality]]
    dataset.PatientOrientation = ["L", "F"]
    dataset.SynchronizationFrameOfReferenceUID = visit.frame_of_reference_uid
    dataset.SynchronizationTrigger = "NO TRIGGER"
    dataset.AcquisitionTimeSynchronized = "N"
    add_pixels(dataset, pixels)
    dataset.FrameIncrementPointer = _FRAME_TIME_VECTOR
    dataset.FrameTimeVector = ["0"]
    dataset.PatientEyeMovementCommanded = None
    add_eye_state(dataset)
    _add_modality(dataset, image)
    rows, columns = image.spacing_mm
    known = rows is not None and columns is not None
    if rows is not None and columns is not None:
        dataset.PixelSpacing = [DSfloat(value, auto_format=True) for value in (rows, columns)]
    partly = not known and (rows, columns) != (None, None)
    write_private(dataset, image.spacing_mm if partly else None, pixels.value_range, pixels.scale)
    if pixels.scale:
        dataset.RealWorldValueMappingSequence = value_mapping(pixels.scale)
    return dataset


def _description(modality: Modality) -> str:
    return "OCT en face" if modality == "OCT" else modality


def _add_modality(dataset: Dataset, image: EnFaceImage) -> None:
    modality = image.modality
    device = _DEVICE.get(modality, codes.SCT.ScanningLaserOphthalmoscope)
    dataset.AcquisitionDeviceTypeCodeSequence = code_sequence(device)
    dataset.IlluminationTypeCodeSequence = Sequence()
    autofluorescence = modality == "FAF"
    light = (codes.SCT.BlueOpticalFilter,) if autofluorescence else ()
    barrier = (codes.SCT.YellowGreenOpticalFilter,) if autofluorescence else ()
    dataset.LightPathFilterTypeStackCodeSequence = code_sequence(*light)
    dataset.ImagePathFilterTypeStackCodeSequence = code_sequence(*barrier)
    dataset.LensesCodeSequence = Sequence()
    dataset.DetectorType = None
    channels = 3 if image.pixels.ndim == 3 else 1
    if modality == "IR":
        dataset.ChannelDescriptionCodeSequence = code_sequence(*[codes.SCT.Infrared] * channels)
    elif modality == "CFP" and channels == 1:
        dataset.ChannelDescriptionCodeSequence = code_sequence(codes.SCT.FullSpectrum)
    if modality == "OCT":
        dataset.OphthalmicImageTypeDescription = "En-face projection of OCT"
        dataset.OphthalmicImageTypeCodeSequence = code_sequence(
            codes.DCM.WholeEyeStructuralReflectanceMap
        )
    if modality in _AGENT:
        _add_dye(dataset, _AGENT[modality])


def _add_dye(dataset: Dataset, agent: Code) -> None:
    item = code_sequence(agent)[0]
    item.ContrastBolusAgentNumber = 1
    item.ContrastBolusAdministrationRouteSequence = code_sequence(codes.SCT.IntravenousRoute)
    item.ContrastBolusIngredientCodeSequence = code_sequence(agent)
    item.ContrastBolusVolume = None
    item.ContrastBolusIngredientConcentration = None
    dataset.ContrastBolusAgentSequence = Sequence([item])
