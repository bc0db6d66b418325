"""Items of an E2E file that tell of an exam, and the parts of their records that are understood.

The B-scan's record is LibE2E's and eyepy's, that of the fundus image's field private_eye's.
"""

from __future__ import annotations

import numpy as np

PATIENT, EYE, FIELD, BSCAN, FUNDUS_KIND, IMAGE = 9, 11, 5, 10004, 9007, 1 << 30
WANTED = frozenset({PATIENT, EYE, FIELD, BSCAN, FUNDUS_KIND, IMAGE})
GREY, REFLECTIVITY = 0x02010201, 0x02200201
IMAGE_HEADER = np.dtype(
    [("bytes", "<u4"), ("type", "<u4"), ("samples", "<u4"), ("rows", "<u4"), ("columns", "<u4")]
)
BSCAN_HEADER = np.dtype(
    {
        "names": [
            "x",
            "y",
            "x_2",
            "y_2",
            "axial_mm",
            "count",
            "index",
            "pattern",
            "x_mid",
            "y_mid",
            "time",
        ],
        "formats": ["<f4"] * 5 + ["<u4"] * 3 + ["<f4"] * 2 + ["<u8"],
        "offsets": [12, 16, 20, 24, 36, 64, 68, 72, 76, 80, 88],
        "itemsize": 96,
    }
)  # places in degrees from the centre of the fundus image, right and down
FIELD_HEADER = np.dtype(
    {
        "names": ["columns", "rows", "degrees"],
        "formats": ["<u2"] * 3,
        "offsets": [12, 14, 24],
        "itemsize": 26,
    }
)
CIRCLE = 2  # of the B-scan's pattern; 1 is a line, whatever the whole scan is
