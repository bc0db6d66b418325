from __future__ import annotations

import numpy as np
import pytest
import tifffile

from octcube_core.errors import ExamReadError
from octcube_core.readers import failures, mapped, read_exam
from octcube_core.readers.failures import NO_SPACING

VOXELS = np.random.default_rng(3).integers(0, 256, (6, 20, 30), dtype=np.uint8)
OME = {
    "axes": "ZYX",
    "PhysicalSizeZ": 0.122,
    "PhysicalSizeZUnit": "mm",
    "PhysicalSizeY": 3.87,
    "PhysicalSizeYUnit": "µm",
    "PhysicalSizeX": 5800.0,
    "PhysicalSizeXUnit": "nm",
}


@pytest.fixture
def write(tmp_path):
    def write(values=VOXELS, name="stack.tif", **options):
        tifffile.imwrite(tmp_path / name, values, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": None},
        {"photometric": "minisblack"},
        {"metadata": {"axes": "TYX"}},
        {"compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"imagej": True},
        {"ome": True, "compression": "zlib"},
    ],
)
def test_pages_are_bscans(write, options):
    exam = read_exam(write(**options))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.voxels.dtype == np.uint8
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.warnings == (NO_SPACING,)
    assert exam.scan_pattern is None


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_sixteen_bits_of_either_byte_order(write, byteorder):
    values = VOXELS.astype(np.uint16) * 257
    exam = read_exam(write(values, byteorder=byteorder, metadata=None))
    np.testing.assert_array_equal(exam.volume.voxels, values)
    assert exam.volume.voxels.dtype.isnative


def test_one_page_is_one_bscan(write):
    assert read_exam(write(VOXELS[0], metadata=None)).volume.shape == (1, 20, 30)


def test_ome_physical_sizes_become_millimetres(write):
    exam = read_exam(write(ome=True, name="x.ome.tif", metadata=OME))
    np.testing.assert_allclose(exam.volume.spacing_mm, (0.122, 0.00387, 0.0058))
    assert exam.format == "OME-TIFF"
    assert exam.warnings == ()


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_units_that_are_no_lengths_are_unknown(write, unit):
    exam = read_exam(write(ome=True, metadata=OME | {"PhysicalSizeXUnit": unit}))
    assert exam.volume.spacing_mm == (0.122, pytest.approx(0.00387), None)
    assert "lateral" in exam.warnings[0]


def test_ome_time_series_has_no_distance_between_bscans(write):
    exam = read_exam(write(ome=True, metadata=OME | {"axes": "TYX"}))
    assert exam.volume.spacing_mm[0] is None
    assert "distance between B-scans" in exam.warnings[0]


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("micron", 1e-3), ("mm", 1.0)])
def test_imagej_unit_and_spacing(write, unit, factor):
    path = write(
        imagej=True,
        resolution=(factor / 0.0058, factor / 0.00387),
        metadata={"axes": "ZYX", "spacing": 0.122 / factor, "unit": unit},
    )
    spacing = read_exam(path).volume.spacing_mm
    np.testing.assert_allclose(spacing, (0.122, 0.00387, 0.0058), rtol=1e-5)


@pytest.mark.parametrize("unit", ["pixel", "inch", ""])
def test_imagej_without_a_real_unit(write, unit):
    path = write(
        imagej=True, resolution=(72, 72), metadata={"axes": "ZYX", "spacing": 1, "unit": unit}
    )
    assert read_exam(path).volume.spacing_mm == (None, None, None)


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [((72, 72), "inch"), ((96, 96), "inch"), ((5000, 5000), "inch"), ((28.346, 28.346), 3)],
)
def test_printing_resolutions_are_no_spacing(write, resolution, unit):
    path = write(metadata=None, resolution=resolution, resolutionunit=unit)
    assert read_exam(path).volume.spacing_mm == (None, None, None)


def test_resolution_in_centimetres_is_physical(write):
    path = write(metadata=None, resolution=(10 / 0.0058, 10 / 0.00387), resolutionunit=3)
    spacing = read_exam(path).volume.spacing_mm
    assert spacing == (None, pytest.approx(0.00387, rel=1e-4), pytest.approx(0.0058, rel=1e-4))


@pytest.mark.parametrize(("axis", "planar"), [(-1, "contig"), (1, "separate")])
def test_grey_stored_as_rgb_is_grey(write, axis, planar):
    rgb = np.stack([VOXELS] * 3, axis)
    exam = read_exam(write(rgb, photometric="rgb", planarconfig=planar))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.warnings == (NO_SPACING,)


def test_coloured_stack_becomes_luminance_with_a_warning(write):
    rgb = np.stack([VOXELS, VOXELS, np.zeros_like(VOXELS)], -1)
    exam = read_exam(write(rgb, photometric="rgb"))
    expected = np.rint(VOXELS * np.float32(0.886))
    np.testing.assert_allclose(exam.volume.voxels, expected, atol=1)
    assert any("coloured" in warning for warning in exam.warnings)


PLACEHOLDERS = {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"} | {"axes": "ZYX"}


@pytest.mark.parametrize("unit", ["µm", "mm"])
def test_sizes_that_are_all_one_are_unknown(write, unit):
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
    imagej = {"axes": "ZYX", "spacing": 1, "unit": "um" if unit == "µm" else unit}
    for path in (
        write(ome=True, metadata=PLACEHOLDERS | units, name="ome.tif"),
        write(imagej=True, resolution=(1, 1), metadata=imagej, name="imagej.tif"),
    ):
        exam = read_exam(path)
        assert exam.volume.spacing_mm == (None, None, None)
        assert exam.warnings == (NO_SPACING,)


@pytest.mark.parametrize("values", [VOXELS, VOXELS.astype(np.uint16) * 257, VOXELS > 99, VOXELS[0]])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}])
def test_white_is_zero_is_inverted(write, values, options):
    path = write(values, photometric="miniswhite", metadata=None, **options)
    white = 255 if values.dtype != np.uint16 else 65535
    shown = (values * 255 if values.dtype == bool else values).astype(int)
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, np.reshape(white - shown, exam.volume.shape))


def test_white_is_zero_of_floats_is_inverted_on_their_range(write):
    path = write(VOXELS.astype(np.float32) / 255, photometric="miniswhite", metadata=None)
    expected = 1 - VOXELS.astype(np.float32) / 255
    np.testing.assert_allclose(read_exam(path).volume.voxels, expected, atol=1e-6)


RAMP = np.arange(255, -1, -1, dtype=np.uint16)


@pytest.mark.parametrize("factor", [257, 256, 1])
def test_palette_of_greys_is_looked_up(write, factor):
    palette = np.stack([RAMP * factor] * 3)
    exam = read_exam(write(photometric="palette", colormap=palette, metadata=None))
    np.testing.assert_array_equal(exam.volume.voxels, 255 - VOXELS)
    assert exam.volume.voxels.dtype == np.uint8
    assert exam.warnings == (NO_SPACING,)


def test_palette_of_colours_becomes_luminance_with_a_warning(write):
    palette = np.stack([RAMP * 257, RAMP * 257, RAMP * 0])
    exam = read_exam(write(photometric="palette", colormap=palette, metadata=None))
    np.testing.assert_allclose(exam.volume.voxels, (255 - VOXELS) * np.float32(0.886), atol=1)
    assert any("coloured" in warning for warning in exam.warnings)


def test_pages_of_different_palettes_are_refused(tmp_path):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as tiff:
        for page, factor in zip(VOXELS, (257, 257, 257, 128, 257, 257), strict=True):
            palette = np.stack([RAMP * factor] * 3)
            tiff.write(page, photometric="palette", colormap=palette, metadata=None)
    with pytest.raises(ExamReadError, match="different palettes"):
        read_exam(path)


@pytest.mark.parametrize("kind", ["separated", "cielab"])
def test_other_colour_spaces_are_refused(write, kind):
    path = write(np.stack([VOXELS] * 4, -1), photometric="separated", metadata=None)
    if kind == "cielab":
        path = write(np.stack([VOXELS] * 3, -1), photometric="cielab", metadata=None)
    with pytest.raises(ExamReadError, match="colour space"):
        read_exam(path)


def test_what_is_not_shown_as_stored_is_not_mapped(write, monkeypatch):
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 100)
    exam = read_exam(write(photometric="miniswhite", metadata=None))
    assert not isinstance(exam.volume.voxels, np.memmap)
    np.testing.assert_array_equal(exam.volume.voxels, 255 - VOXELS)


TWELVE = VOXELS.astype(np.uint16) * 16


@pytest.mark.parametrize(
    ("values", "stated", "white"),
    [
        (TWELVE, None, 4095),
        (TWELVE, 14, 16383),
        (TWELVE, 16, 4095),  # what programs write for any uint16
        (TWELVE, 10, 4095),  # which the values contradict
        (TWELVE * 16, None, 65535),
    ],
)
def test_samples_of_few_bits_in_sixteen_are_not_shown_black(write, values, stated, white):
    metadata = {"axes": "ZYX"} | ({"SignificantBits": stated} if stated else {})
    exam = read_exam(write(values, ome=True, metadata=metadata))
    assert exam.volume.value_range == (0, white)
    np.testing.assert_array_equal(exam.volume.voxels, values)


def test_several_volumes_are_refused(write):
    values = np.stack([VOXELS, VOXELS])
    with pytest.raises(ExamReadError, match=r"stack\.tif has the axes TZYX"):
        read_exam(write(values, imagej=True, metadata={"axes": "TZYX"}))


def test_mixed_page_sizes_are_refused(tmp_path):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(VOXELS[0], metadata=None)
        tiff.write(VOXELS[0, :, :10], metadata=None)
    with pytest.raises(ExamReadError, match="different size"):
        read_exam(path)


def test_ome_pages_missing_from_the_file_are_no_black_bscans(write, tmp_path):
    whole = write(ome=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(whole) as tiff:
        xml = tiff.ome_metadata
    short = tmp_path / "short.ome.tif"
    tifffile.imwrite(
        short, VOXELS[:5], description=xml.encode(), metadata=None, photometric="minisblack"
    )
    with pytest.raises(ExamReadError, match="missing"):
        read_exam(short)


def test_first_of_several_ome_images_is_shown_and_said(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(VOXELS, metadata=OME)
        tiff.write(VOXELS[0, :5], metadata={"axes": "YX"})
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.is_metric
    assert "2 images; the first" in exam.warnings[0]


def test_pages_in_a_circle_do_not_hang(write):
    path = write(metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0], tiff.pages[-1]
        next_pointer = last.offset + 2 + 12 * len(last.tags)
    content = bytearray(path.read_bytes())
    content[next_pointer : next_pointer + 4] = first.offset.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ExamReadError, match=r"stack\.tif is truncated or damaged"):
        read_exam(path)


def test_page_without_data_is_no_black_bscan(write):
    path = write(compression="zlib", metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        counts = tiff.pages[2].tags["StripByteCounts"]
        count_at = counts.valueoffset
    content = bytearray(path.read_bytes())
    content[count_at : count_at + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ExamReadError, match="truncated or damaged"):
        read_exam(path)


def test_claimed_size_is_checked_before_memory_is_taken(write, monkeypatch):
    monkeypatch.setattr(failures, "MAX_VOLUME_BYTES", VOXELS.nbytes - 1)
    with pytest.raises(ExamReadError, match="claims to hold"):
        read_exam(write(metadata=None))


def test_suffix_does_not_matter(write):
    assert read_exam(write(name="no_suffix")).format == "TIFF"
    assert read_exam(write(name="lies.png")).volume.shape == VOXELS.shape


def test_nothing_is_printed(write, capfd, tmp_path):
    path = write(compression="zlib", metadata=None)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ExamReadError):
        read_exam(path)
    assert capfd.readouterr().err == ""


def test_large_uncompressed_stacks_stay_on_disk(write, monkeypatch):
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 100)
    for options in ({"metadata": None}, {"imagej": True}, {"ome": True}):
        values = VOXELS.astype(np.uint16)
        voxels = read_exam(write(values, photometric="minisblack", **options)).volume.voxels
        assert options.get("imagej") or isinstance(voxels, np.memmap)  # ImageJ is big-endian
        np.testing.assert_array_equal(voxels, values)


def test_mapped_floats_show_their_range_without_being_read_whole(write, monkeypatch):
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 100)
    values = VOXELS.astype(np.float32)
    exam = read_exam(write(values, metadata=None, photometric="minisblack"))
    assert isinstance(exam.volume.voxels, np.memmap)
    assert exam.volume.value_range == (values.min(), values.max())


@pytest.mark.parametrize("shape", [(5, 1, 30), (5, 20, 1), (1, 20, 30), (1, 1, 1)])
def test_axes_of_one_sample(write, shape):
    values = np.ones(shape, np.uint8)
    exam = read_exam(write(values, ome=True, photometric="minisblack", metadata=OME))
    assert exam.volume.shape == shape


def test_one_page_of_other_axes_keeps_each_spacing_with_its_axis(write):
    metadata = {"axes": "YX", "PhysicalSizeX": 12.0, "PhysicalSizeY": 4.0}
    path = write(VOXELS[0], name="page.ome.tif", ome=True, metadata=metadata)
    assert read_exam(path).volume.spacing_mm == (None, 0.004, 0.012)
    exam = read_exam(path, axes="zxy")
    assert exam.volume.shape == (1, 30, 20)
    assert exam.volume.spacing_mm == (None, 0.012, 0.004)
