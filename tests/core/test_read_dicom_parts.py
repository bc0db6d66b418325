"""DICOM volumes whose frames are stored in another order, or in several files."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import (
    SERIES,
    infrared,
    item,
    opt,
    place,
    placed,
    save,
    scan_on,
    sequence,
    shared,
)
from pydicom import uid
from pydicom.sequence import Sequence

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam
from octcube_core.readers.dicom_concatenation import MAY_BE_PART
from octcube_core.readers.dicom_order import NO_ORDER
from octcube_core.readers.dicom_series import exams_of

VOXELS = np.random.default_rng(2).integers(0, 256, (5, 40, 48), dtype=np.uint8)
LINES = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(5)]
MEASURES = shared(PixelSpacing=[0.004, 0.01], SpacingBetweenSlices=0.08)
SHUFFLED = [3, 1, 2, 5, 4]


def numbered(contents, localizer=None):
    """A volume whose frame k lies where its number says."""
    groups = []
    for content in contents:
        number = content.get("InStackPositionNumber") or content["DimensionIndexValues"][-1]
        group = placed(place(localizer, LINES[(number - 1) % 5])) if localizer else item()
        group.FrameContentSequence = sequence(**content)
        groups.append(group)
    return opt(
        VOXELS,
        SharedFunctionalGroupsSequence=MEASURES,
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )


class TestOrder:
    @pytest.mark.parametrize("implicit", [True, False])
    @pytest.mark.parametrize(
        "content",
        [
            lambda n: {"StackID": "1", "InStackPositionNumber": n},
            lambda n: {"DimensionIndexValues": [1, n]},
            lambda n: {"InStackPositionNumber": n, "DimensionIndexValues": [6 - n]},
        ],
        ids=["in stack", "dimension", "both"],
    )
    def test_frames_are_sorted_with_their_places(self, tmp_path, content, implicit):
        localizer = infrared(PixelSpacing=[0.01, 0.01])
        save(localizer, tmp_path / "ir.dcm")
        volume = numbered([content(n) for n in SHUFFLED], localizer.SOPInstanceUID)
        if implicit:
            volume.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
        path = save(volume, tmp_path / "oct.dcm")
        exam = read_exam(path)
        np.testing.assert_array_equal(exam.volume.voxels, VOXELS[[1, 2, 0, 4, 3]])
        assert [line[0, 0] for line in exam.locations.polylines] == [10, 18, 26, 34, 42]
        assert exam.scan_pattern == "raster"
        assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)
        assert exam.warnings == ()
        (entry,) = exams_of([path])
        assert entry.scan_pattern == "raster"

    @pytest.mark.parametrize(
        ("contents", "told"),
        [
            ([{"StackID": "1", "InStackPositionNumber": n} for n in (1, 2, 2, 3, 4)], (NO_ORDER,)),
            ([{"StackID": "1", "InStackPositionNumber": n} for n in (9, 1, 2, 3, 4)], (NO_ORDER,)),
            ([{"StackID": "1", "InStackPositionNumber": n} for n in (1, 3, 5, 7, 9)], ()),
            (
                [
                    {"StackID": s, "InStackPositionNumber": int(n)}
                    for s, n in zip("11122", "12312", strict=True)
                ],
                (),
            ),
            ([{"DimensionIndexValues": [n % 2 + 1, 6 - n]} for n in range(1, 6)], ()),
        ],
        ids=["doubled", "shuffled with gaps", "gaps", "two stacks", "two dimensions"],
    )
    def test_otherwise_the_order_of_the_file_stands(self, tmp_path, contents, told):
        exam = read_exam(save(numbered(contents), tmp_path / "oct.dcm"))
        np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
        assert exam.warnings == told


class TestConcatenation:
    def parts(self, folder, total=2, bounds=(0, 3, 5), numbers=None, **elements):
        localizer = infrared(PixelSpacing=[0.01, 0.01])
        found = [save(localizer, folder / "ir.dcm")]
        for index in range(len(bounds) - 1):
            start, end = bounds[index : index + 2]
            part = scan_on(
                localizer,
                LINES[start:end],
                VOXELS[start:end],
                SharedFunctionalGroupsSequence=MEASURES,
                ConcatenationUID="1.2.3.9",
                InConcatenationNumber=numbers[index] if numbers else index + 1,
                InConcatenationTotalNumber=total,
                ConcatenationFrameOffsetNumber=start,
                **elements,
            )
            found.append(save(part, folder / f"{9 - index}.dcm"))  # names in another order
        return found

    def test_one_part_alone_is_refused(self, tmp_path):
        self.parts(tmp_path)
        with pytest.raises(ExamReadError, match=r"8\.dcm is part 2 of 2 of a volume .* folder"):
            read_exam(tmp_path / "8.dcm")

    def test_folder_joins_them(self, tmp_path):
        (entry,) = exams_of(self.parts(tmp_path))
        assert entry.shape == (5, 40, 48)
        exam = read_exam(tmp_path)
        np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
        assert [line[0, 0] for line in exam.locations.polylines] == [10, 18, 26, 34, 42]
        assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)
        assert exam.warnings == ()

    def test_missing_part(self, tmp_path):
        files = self.parts(tmp_path)
        files[1].unlink()
        with pytest.raises(ExamReadError, match=r"Part 1 of the volume .* is missing"):
            read_exam(tmp_path)

    def test_parts_that_contradict_each_other(self, tmp_path):
        self.parts(tmp_path / "doubled", bounds=(0, 2, 4, 5), numbers=(1, 2, 2))
        with pytest.raises(ExamReadError, match="contradict each other"):
            read_exam(tmp_path / "doubled")
        files = self.parts(tmp_path / "size")
        other = opt(
            VOXELS[3:, :, :40],
            SeriesInstanceUID=SERIES,
            ConcatenationUID="1.2.3.9",
            InConcatenationNumber=2,
            InConcatenationTotalNumber=2,
            SharedFunctionalGroupsSequence=MEASURES,
        )
        save(other, files[2])
        with pytest.raises(ExamReadError, match="does not fit the other parts"):
            read_exam(tmp_path / "size")

    def test_first_part_of_an_unknown_number(self, tmp_path):
        files = self.parts(tmp_path, total=None, bounds=(0, 5))
        assert MAY_BE_PART in read_exam(files[1]).warnings

    def test_the_only_part(self, tmp_path):
        files = self.parts(tmp_path, total=1, bounds=(0, 5))
        assert read_exam(files[1]).warnings == ()


def test_one_file_of_a_series_says_that_there_are_more(tmp_path):
    for index in range(3):
        dataset = opt(VOXELS[:1], SeriesInstanceUID=SERIES, InstanceNumber=index + 1)
        save(dataset, tmp_path / f"{index}.dcm")
    save(opt(VOXELS, SeriesInstanceUID=SERIES), tmp_path / "volume.dcm")
    exam = read_exam(tmp_path / "1.dcm")
    assert exam.volume.shape[0] == 1
    assert any("one of 3 B-scans" in warning and "folder" in warning for warning in exam.warnings)
    assert not any("one of" in told for told in read_exam(tmp_path / "volume.dcm").warnings)


def test_pixel_spacing_of_a_single_frame(tmp_path):
    elements = {"SharedFunctionalGroupsSequence": None, "PixelSpacing": [0.004, 0.01]}
    exam = read_exam(save(opt(VOXELS[:1], **elements), tmp_path / "oct.dcm"))
    assert exam.volume.spacing_mm == (None, 0.004, 0.01)
    assert exam.warnings == ()
