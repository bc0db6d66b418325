"""An archive of 100,000 eyes must not stop the viewer."""

import numpy as np
import pytest
from archives import eye
from fakes import make_embedding

from octcube_core.results import ModelIdentity
from octcube_core.retrieval import EmbeddingIndex, IndexedExam
from octcube_core.retrieval.records import Identity

EYES, FEATURES = (
    100_000,
    8,
)  # features of the fake model; how long a search takes is measured elsewhere
LONGEST_S = 0.05

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]


@pytest.fixture(scope="module")
def large_archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    patch = pytest.MonkeyPatch()
    patch.setenv("OCTCUBE_CONFIG", str(folder / "configuration"))
    vectors = rng.standard_normal((EYES, FEATURES))
    model = ModelIdentity("fake demo-coep", "demo-coep", FEATURES, "demo-coep")
    address = str(folder / "large.octindex")
    with EmbeddingIndex(address) as index:
        for first in range(0, EYES, 5000):
            index.add_records(
                [
                    IndexedExam(
                        Identity(f"{n}", f"p{n // 4}", "OD" if n % 2 else "OS", n % 4),
                        {"OCT": vectors[n]},
                        f"Device {n % 3}",
                        (("AMD", "DME", "POAG")[n % 3],),
                    )
                    for n in range(first, first + 5000)
                ],
                model,
            )
    patch.undo()
    return address


def test_opening_searching_filtering_and_mapping_never_stop_it(
    open_dock, qtbot, large_archive, longest_stall
):
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    state = dock.similar.state
    dock.setCurrentWidget(dock.similar_tab)
    dock.scene.add_exam(eye(95))
    qtbot.wait(500)
    stalls = {}

    def measured(name, act, done):
        longest_stall()
        act()
        qtbot.waitUntil(done, timeout=60_000)
        qtbot.wait(100)
        stalls[name] = longest_stall()[1]  # seconds in which this thread computed

    measured(
        "open", lambda: dock.similar.open_archive(large_archive), lambda: state.archive is not None
    )
    measured("find", dock.similar.find, lambda: state.found is not None)
    assert len(state.found.neighbours) == 24
    before = state.found
    measured("filter", lambda: dock.similar.ask(label="AMD"), lambda: state.found is not before)
    assert all(each.labels == ("AMD",) for each in state.found.neighbours)
    dock.similar_tab.pages.setCurrentIndex(1)
    measured("map", lambda: dock.similar_tab.mapping.start("pca"), lambda: state.map is not None)
    assert len(state.map.archive_map.points) == EYES
    before = state.found
    measured("on the map", lambda: dock.similar.ask(label=None), lambda: state.found is not before)
    assert max(stalls.values()) <= LONGEST_S, stalls


def test_the_answer_is_that_of_brute_force(large_archive, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path))
    query = make_embedding(eye(95)).vectors["OCT"]
    vectors = np.random.default_rng(0).standard_normal((EYES, FEATURES)).astype(np.float16)
    vectors = vectors.astype(np.float64)
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    with EmbeddingIndex(large_archive) as index:
        found = index.search(query, k=50)
    np.testing.assert_allclose(
        [each.similarity for each in found], np.sort(cosine)[::-1][:50], atol=2e-4
    )
