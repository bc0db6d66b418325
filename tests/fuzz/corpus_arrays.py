"""Valid files of the formats that are not a device's: arrays, pictures, folders."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.sample import SHAPE, SPACING_MM, Sample, fundus, of_files, of_folder, voxels


def numpy_files(folder: Path) -> Iterator[Sample]:
    np.save(folder / "exam.npy", voxels())
    yield of_files("npy", folder, "exam.npy")
    np.save(folder / "swapped.npy", voxels(np.uint16).astype(">u2"))
    yield of_files("npy", folder, "swapped.npy")


def numpy_archives(folder: Path) -> Iterator[Sample]:
    np.savez(folder / "plain.npz", volume=voxels(), spacing_mm=SPACING_MM, ir=fundus())
    yield of_files("npz", folder, "plain.npz")
    np.savez_compressed(folder / "packed.npz", volume=voxels(np.float32))
    yield of_files("npz", folder, "packed.npz")


def matlab_files(folder: Path) -> Iterator[Sample]:
    from scipy.io import savemat

    stack = voxels().transpose(1, 2, 0)
    for name, packed in (("plain", False), ("packed", True)):
        savemat(folder / f"{name}.mat", {"images": stack}, do_compression=packed)
        yield of_files("mat", folder, f"{name}.mat")


def matlab_73_files(folder: Path) -> Iterator[Sample]:
    import h5py

    for name, packing in (("plain", None), ("packed", "gzip")):
        path = folder / f"{name}.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            file.create_dataset("images", data=voxels(), compression=packing)
        start = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
        with path.open("r+b") as raw:
            raw.write(start)
        yield of_files("mat73", folder, f"{name}.mat")


def meta_images(folder: Path) -> Iterator[Sample]:
    bscans, depth, width = SHAPE
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"ElementSpacing = 0.012 0.004 0.12\nDimSize = {width} {depth} {bscans}\n"
        "ElementType = MET_UCHAR\nElementDataFile = {}\n"
    )
    (folder / "exam.mhd").write_text(header.format("exam.raw"))
    (folder / "exam.raw").write_bytes(voxels().tobytes())
    yield of_files("mhd", folder, "exam.mhd", ["exam.raw"])
    (folder / "exam.mha").write_bytes(header.format("LOCAL").encode() + voxels().tobytes())
    yield of_files("mhd", folder, "exam.mha")


def nifti_files(folder: Path) -> Iterator[Sample]:
    import nibabel

    image = nibabel.Nifti1Image(voxels().transpose(2, 1, 0), np.diag([0.012, 0.004, 0.12, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / "exam.nii")
    yield of_files("nii", folder, "exam.nii")
    (folder / "exam.nii.gz").write_bytes(gzip.compress((folder / "exam.nii").read_bytes(), mtime=0))
    yield of_files("nii", folder, "exam.nii.gz")


def tiff_files(folder: Path) -> Iterator[Sample]:
    import tifffile

    variants: dict[str, dict[str, object]] = {
        "plain": {},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.12, "unit": "mm"}},
        "lzw": {"compression": "lzw", "predictor": True},
        "deflate": {"compression": "zlib", "tile": (32, 32)},
        "big": {"bigtiff": True, "byteorder": ">"},
        "paged": {"metadata": None},
    }
    for name, options in variants.items():
        tifffile.imwrite(folder / f"{name}.tif", voxels(), photometric="minisblack", **options)
        yield of_files("tif", folder, f"{name}.tif")
    sizes = {f"PhysicalSize{axis}": mm for axis, mm in zip("ZYX", SPACING_MM, strict=True)}
    units = {f"PhysicalSize{axis}Unit": "mm" for axis in "ZYX"}
    metadata = {"axes": "ZYX", **sizes, **units}
    tifffile.imwrite(
        folder / "exam.ome.tif", voxels(np.uint16), photometric="minisblack", metadata=metadata
    )
    yield of_files("tif", folder, "exam.ome.tif")


def pictures(folder: Path) -> Iterator[Sample]:
    bscan = Image.fromarray(voxels()[1])
    for name in ("exam.png", "exam.jpg", "exam.bmp"):
        bscan.save(folder / name)
        yield of_files("picture", folder, name)
    Image.fromarray(voxels(np.uint16)[1]).save(folder / "deep.png")
    yield of_files("picture", folder, "deep.png")


def folders(folder: Path) -> Iterator[Sample]:
    meta = {
        "spacing_mm": SPACING_MM,
        "ir_spacing_mm": [0.02, 0.02],
        "laterality": "OD",
        "scan_pattern": "raster",
        "locations": {
            "image": "ir",
            "polylines": [[[5 + row, 3], [5 + row, 44]] for row in range(SHAPE[0])],
        },
    }
    for suffix in ("png", "bmp"):
        exam = folder / suffix
        exam.mkdir()
        for number, bscan in enumerate(voxels()):
            Image.fromarray(bscan).save(exam / f"oct_{number:03}.{suffix}")
        Image.fromarray(fundus()).save(exam / "ir.png")
        (exam / "meta.json").write_text(json.dumps(meta))
        yield of_folder("folder", exam)


def folders_of_exams(folder: Path) -> Iterator[Sample]:
    np.save(folder / "first.npy", voxels())
    Image.fromarray(voxels()[2]).save(folder / "second.bmp")
    (folder / "visit").mkdir()
    np.save(folder / "visit" / "third.npy", voxels(np.uint16))
    yield of_folder("tree", folder)
