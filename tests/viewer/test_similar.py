import pytest
from archives import eye, make_archive
from fakes import make_analysis

from napari_octcube._remembered import remembered_archive
from octcube_core.readers import read_exam


@pytest.fixture
def opened(similar, owner, tmp_path):
    similar.open_archive(make_archive(tmp_path))
    owner.run_until(lambda: similar.state.archive is not None)
    return similar


def brightness(neighbour):
    return int(neighbour.location.path.parent.name)


def find(similar, owner):
    similar.state.found = None
    similar.find()
    owner.run_until(lambda: similar.state.found is not None or similar.state.error)
    return [brightness(each) for each in similar.state.found.neighbours]


def test_finds_the_eyes_nearest_to_the_one_in_view(opened, session, owner):
    session.show_exam(eye(95))
    assert find(opened, owner) == [100, 60, 140, 20]
    found = opened.state.found
    assert set(found.thumbnails) == {each.item for each in found.neighbours}
    assert [(vote.label, vote.count, vote.of) for vote in found.votes] == [
        ("AMD", 2, 3),
        ("DME", 2, 3),
    ]


def test_a_changed_question_is_answered_at_once(opened, session, owner):
    session.show_exam(eye(95))
    find(opened, owner)
    before = opened.state.found
    opened.ask(laterality="OS")
    owner.run_until(lambda: opened.state.found is not before)
    assert [brightness(each) for each in opened.state.found.neighbours] == [60, 140]
    before = opened.state.found
    opened.ask(laterality=None, label="DME", count=1, to="IR", by="IR")
    owner.run_until(lambda: opened.state.found is not before)
    (only,) = opened.state.found.neighbours
    assert (brightness(only), only.modality, opened.state.found.by) == (100, "IR", "IR")


def test_the_same_patient_is_left_out_until_asked_for(opened, session, owner, tmp_path):
    session.show_exam(read_exam(tmp_path / "exams" / "60"))
    assert 60 not in find(opened, owner)
    before = opened.state.found
    opened.ask(leave_out=None)
    owner.run_until(lambda: opened.state.found is not before)
    assert brightness(opened.state.found.neighbours[0]) == 60


def test_another_exam_takes_the_answer_away(opened, session, owner):
    session.show_exam(eye(95))
    find(opened, owner)
    session.show_exam(eye(30))
    assert opened.state.found is None
    assert find(opened, owner)[0] == 20


def test_an_answer_for_an_exam_that_left_is_dropped(opened, session, owner):
    session.show_exam(eye(95))
    opened.find()
    session.show_exam(eye(30))
    owner.run_until(lambda: not opened.state.busy)
    assert opened.state.found is None
    assert not opened.state.error


def test_adds_the_exam_in_view_with_its_scores_once(opened, session, owner):
    exam = eye(200)
    session.show_exam(exam)
    session.analysis = make_analysis(exam)
    opened.add_exam()
    owner.run_until(lambda: opened.state.archive.counts["exams"] == 5)
    assert opened.state.note == "This exam is in the archive now."
    opened.add_exam()
    owner.run_until(lambda: "already" in opened.state.note)
    assert opened.state.archive.counts["exams"] == 5
    session.show_exam(eye(201))
    opened.find()
    owner.run_until(lambda: opened.state.found is not None)
    nearest = opened.state.found.neighbours[0]
    assert nearest.scores["DME"] == pytest.approx(0.91)
    assert nearest.location is None


def test_a_new_archive_takes_the_chosen_model(similar, session, owner, tmp_path):
    similar.state.new_model = "demo"
    similar.open_archive(str(tmp_path / "new.octindex"), create=True)
    owner.run_until(lambda: similar.state.archive is not None)
    assert similar.state.archive.model is None
    assert remembered_archive().endswith("new.octindex")
    session.show_exam(eye(95))
    similar.add_exam()
    owner.run_until(lambda: similar.state.archive.model is not None)
    assert similar.state.archive.model.source == "demo"


def test_an_archive_of_a_local_file_asks_for_that_file(similar, session, owner, tmp_path):
    similar.open_archive(make_archive(tmp_path, model="ours.safetensors"))
    owner.run_until(lambda: similar.state.archive is not None)
    session.show_exam(eye(95))
    similar.find()
    assert "the file ours.safetensors; choose that file" in similar.state.error
    session.model = "/models/ours.safetensors"  # chosen in the tab Analysis
    similar.find()
    owner.run_until(lambda: similar.state.error)
    # The fake model's weights are called by its path: they are not those of the archive.
    assert "made by fake ours.safetensors" in similar.state.error
    assert "cannot be compared" in similar.state.error
    assert not similar.state.busy


def test_a_dead_model_process_is_one_sentence_and_the_next_try_works(opened, session, owner):
    session.show_exam(eye(95))
    opened.find()
    owner.run_until(lambda: opened._client.pid is not None)
    opened._client._process.kill()
    owner.run_until(lambda: opened.state.error or opened.state.found is not None)
    if opened.state.found is None:  # it may have answered just before
        assert "stopped before it answered" in opened.state.error
    assert find(opened, owner)[0] == 100


def test_reads_a_neighbour_and_says_when_it_moved_away(opened, session, owner, tmp_path):
    session.show_exam(eye(95))
    find(opened, owner)
    nearest, second = opened.state.found.neighbours[:2]
    exams = []
    opened.read(nearest, exams.append)
    owner.run_until(lambda: exams)
    assert exams[0].volume.voxels.mean() == pytest.approx(101.5, abs=1)
    (tmp_path / "exams").rename(tmp_path / "elsewhere")
    opened.read(second, exams.append)
    owner.run_until(lambda: opened.state.error)
    assert "no longer there" in opened.state.error
    assert "\n" not in opened.state.error
    assert len(exams) == 1


def test_explains_a_similarity_on_both_eyes(opened, session, owner):
    exam = eye(95)
    session.show_exam(exam)
    find(opened, owner)
    explained = []
    opened.explain(opened.state.found.neighbours[0], lambda *all_: explained.append(all_))
    owner.run_until(lambda: explained)
    ((mine, other, reply),) = explained
    assert mine is exam
    assert other.patient.id is not None  # the exam itself, not what was sent to the model
    assert reply.query.measurements[0].value == 0.5
    assert not opened.state.busy
