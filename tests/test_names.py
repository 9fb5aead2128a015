import pytest

from sodkit.errors import DataError
from sodkit.names import check_names, name_fault


@pytest.mark.parametrize(
    "name",
    ["CON", "nul", "aux.txt", "COM1.jpg", "lpt9.a.b", "com¹.png", "con .txt", "a<b.jpg", "a:b.jpg",
     'a"b', "a|b", "a?.jpg", "a*", "a\\b", "a\tb", "a.", "a ", "aux/a.jpg", "b./a.jpg", "CONIN$"],
)  # fmt: skip
def test_names_that_windows_reserves(name: str) -> None:
    assert name_fault(name) is not None
    with pytest.raises(DataError, match="cannot be named") as caught:
        check_names([("fine", "0.jpg"), (name, "photos/1.jpg")])
    assert caught.value.where == "photos/1.jpg"


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "console.txt", "com10.jpg", "COM.jpg", "auxiliary", ".hidden", "a b/c.d/é~1.txt",
     "0001__800__0___650.jpg", "nul-1.png", "a'b(1)[2]{3}.jpg"],
)  # fmt: skip
def test_other_names(name: str) -> None:
    assert name_fault(name) is None
    check_names([(name, name)])
