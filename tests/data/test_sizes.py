import numpy as np

from sodkit.data.sizes import SIZE_NAMES, size_index


def test_bounds_belong_to_the_smaller_class() -> None:
    area = np.array([1.0, 144.0, 144.5, 400.0, 400.5, 1024.0, 1025.0, 2000.0, 2000.5])
    names = [SIZE_NAMES[index] for index in size_index(area)]
    assert names == ["eS", "eS", "rS", "rS", "gS", "gS", "N", "N", "larger"]
