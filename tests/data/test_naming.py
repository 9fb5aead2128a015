from sodkit.data.naming import SEVERAL, ImageNames, find_class, listed, stem


def test_images_by_what_others_call_them() -> None:
    names = ImageNames(["a/1.jpg", "b/1.jpg", "b/2.x.png", "3"])
    calls = ["a/1.jpg", "b/1", "1", "2.x", "2.x.tif", "/d/b/2.x.png", "3", "d/3.jpg", "c/2.x", "2"]
    assert [names.find(one) for one in calls] == [0, 1, SEVERAL, 2, 2, 2, 3, 3, None, None]


def test_a_whole_name_goes_before_the_end_of_another() -> None:
    names = ImageNames(["1.jpg", "a/1.jpg"])
    assert names.find("1.jpg") == 0


def test_a_stem_keeps_other_dots() -> None:
    assert [stem(name) for name in ("a.b", "a.b.JPG", ".jpg")] == ["a.b", "a.b", ".jpg"]


def test_a_class_by_name_or_by_case() -> None:
    assert find_class("Car", ["car", "bus"]) == 0
    assert find_class("Car", ["car", "Car"]) == 1
    assert find_class("CAR", ["car", "Car"]) is None
    assert find_class("tram", ["car"]) is None


def test_listed() -> None:
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(12), 2) == "0, 1 and 10 more"
