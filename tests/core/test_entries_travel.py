"""What reads an exam goes to another process by value, whatever its format."""

import pickle

import cloudpickle
import numpy as np
import pytest
from heyex_files import (
    e2e_bytes,
    e2e_items,
    patient_item,
    random_codes,
    raster,
    write_vol,
    write_xml,
    xml_series,
)
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.phantom import make_exam
from octcube_core.readers import find_exams
from octcube_core.writers import write_exam

SMALL = 20_000  # bytes for an entry: closures must not hold what was read


def travel(entries):
    """As they arrive in another process, and how large they are."""
    sent = cloudpickle.dumps(entries)
    return pickle.loads(sent), len(sent)


def same(one, other):
    np.testing.assert_array_equal(one.volume.voxels, other.volume.voxels)
    assert one.volume.spacing_mm == other.volume.spacing_mm
    assert one.modalities == other.modalities
    assert (one.laterality, one.source, one.warnings) == (
        other.laterality,
        other.source,
        other.warnings,
    )


def said(entry):
    """Why an exam cannot be read; empty if it can."""
    try:
        entry.read()
    except ExamReadError as error:
        return str(error)
    return ""


@pytest.fixture
def folder(tmp_path):
    exam = make_exam(1, shape=(5, 64, 48))
    for to in ("dicom", "folder"):
        write_exam(exam, tmp_path / to, to)
    write_exam(exam, tmp_path / "exam.ome.tif", "ome-tiff")
    np.save(tmp_path / "exam.npy", exam.volume.voxels)
    np.savez(tmp_path / "exam.npz", volume=exam.volume.voxels)
    write_vol(tmp_path / "exam.vol", raster())
    xml = tmp_path / "xml"
    xml.mkdir()
    write_xml(xml / "exam.xml", xml_series(xml, raster()))
    scan = raster(bscans=4)
    items = [patient_item(), *e2e_items(scan, 1, random_codes((4, 24, 40)))]
    (tmp_path / "exam.E2E").write_bytes(e2e_bytes(items))
    (tmp_path / "slices").mkdir()
    for number, bscan in enumerate(exam.volume.voxels):
        Image.fromarray(bscan).save(tmp_path / "slices" / f"{number}.png")
    (tmp_path / "damaged.vol").write_bytes(b"HSF-OCT-103 and no more")
    return tmp_path


def test_every_format_reads_the_same_in_another_process(folder):
    entries = list(find_exams(folder))
    arrived, size = travel(entries)
    assert size < SMALL * len(entries)
    formats = set()
    for entry, other in zip(entries, arrived, strict=True):
        assert (entry.path, entry.part, entry.name) == (other.path, other.part, other.name)
        formats.add(entry.format)
        told, outcome = said(entry), said(other)
        assert told == outcome
        if not told:
            same(entry.read(), other.read())
    assert len(formats) >= 8


def test_real_files_read_the_same_in_another_process(real_data):
    entries = list(find_exams(real_data))
    arrived, size = travel(entries)
    assert size < SMALL * len(entries)
    readable = 0
    for entry, other in zip(entries[:8], arrived[:8], strict=True):
        told = said(entry)
        assert told == said(other)
        if not told:
            same(entry.read(), other.read())
            readable += 1
    assert readable >= 3
