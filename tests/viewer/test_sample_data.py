import pytest

from octcube_core.phantom import DISEASES


def test_a_healthy_eye_and_one_per_disease_are_offered(plugin):
    names = {sample.display_name for sample in plugin.contributions.sample_data}
    assert names == {f"Synthetic eye: {name}" for name in ("healthy", *DISEASES)}


@pytest.mark.parametrize("disease", ["healthy", *DISEASES])
def test_sample_opens_as_an_oct_layer(disease, plugin):
    name = f"Synthetic eye: {disease}"
    (sample,) = (s for s in plugin.contributions.sample_data if s.display_name == name)
    ((voxels, options, kind),) = sample.open()
    assert kind == "image"
    assert options["name"] == name
    assert voxels.ndim == 3
    assert options["metadata"]["octcube_exam"].format == "synthetic"
