import pytest

from sodkit.data.formats.reading import is_ignore


@pytest.mark.parametrize(
    "name",
    ["ignore", " Ignore ", "ignored regions", "ignored-regions", "Ignored_Region", "DontCare",
     "don't care", "others-ignored"],
)  # fmt: skip
def test_names_of_ignore_regions(name: str) -> None:
    assert is_ignore(name)
    assert not is_ignore(name, [name])


@pytest.mark.parametrize("name", ["car", "others", "region", "ignition", ""])
def test_other_names_are_classes(name: str) -> None:
    assert not is_ignore(name)
