import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sodkit.cli.main import make_app
from sodkit.data.images.decoding import write_image


def call(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_image(tmp_path / "images" / "a.png", np.zeros((80, 100, 3), np.uint8))
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    (labels / "a.txt").write_text("1 1 9 1 9 9 1 9 ship 0\n5 5 40 5 40 30 5 30 plane 1\n")
    return tmp_path


def test_check_prints_findings_and_profile(source: Path) -> None:
    result = call("check", source)
    assert result.exit_code == 0, result.output
    assert "0 errors, 0 warnings" in result.stdout
    assert "2 objects (oriented; 1 ignored)" in result.stdout
    assert "storage-tank" in result.stdout


def test_check_takes_a_name_of_ignore_regions_as_a_class_if_it_is_given(source: Path) -> None:
    with (source / "labelTxt" / "a.txt").open("a") as file:
        file.write("1 1 9 1 9 9 1 9 others-ignored 0\n")
    assert "2 objects (oriented; 1 ignored) and 1 ignore" in call("check", source).stdout
    named = call("check", source, "--classes", "ship,plane,Others-ignored").stdout
    assert "3 objects (oriented; 1 ignored) and 0 ignore" in named


def test_check_exits_with_3_and_says_where(source: Path) -> None:
    unknown = "".join(f"1 1 9 1 9 9 1 9 {name} 0\n" for name in ("shp", *"abcdefg"))
    (source / "labelTxt" / "a.txt").write_text(unknown + "1 2 3 ship 0\n" * 8)
    (source / "classes.txt").write_text("ship\nplane\n")
    result = call("check", source, "--limit", 3)
    assert result.exit_code == 3
    assert "9 errors" in result.stdout
    assert "did you mean 'ship'" in result.stdout
    assert "5 more" in result.stderr
    assert "7 more like it: a.txt:10, a.txt:11" in " ".join(result.stdout.split())
    content = json.loads(call("check", source, "--json").stdout)
    assert content["errors"] == len(content["findings"]) == 9
    assert sum(1 + len(item["others"]) for item in content["findings"]) == 16
    assert content["schema_version"] == 1


def test_check_takes_class_names(source: Path) -> None:
    result = call("check", source, "--classes", "ship,plane", "--no-images")
    assert result.exit_code == 3  # the other thirteen of DOTA
    assert "unknown class 'harbor'" in result.stdout


def test_convert_says_what_is_lost(source: Path) -> None:
    result = call("convert", source, "--to", "yolo", "--out", source / "yolo")
    assert result.exit_code == 0, result.output
    assert "1 ignored objects became ignore regions" in result.stderr
    result = call("convert", source, "--to", "coco", "--out", source / "all.json", "--json")
    assert json.loads(result.stdout)["not_held"] == []
    assert json.loads(result.stdout)["annotations"] == 2


def test_convert_leaves_out_labels_without_image(source: Path) -> None:
    (source / "labelTxt" / "b.txt").write_text("1 1 9 1 9 9 1 9 ship 0\n")
    result = call("convert", source, "--to", "voc", "--out", source / "voc")
    assert result.exit_code == 3
    assert not (source / "voc").exists()
    result = call("convert", source, "--to", "voc", "--out", source / "voc", "--skip-missing")
    assert result.exit_code == 0
    assert "left out" in result.stderr
    assert [path.name for path in (source / "voc/Annotations").iterdir()] == ["a.xml"]


def test_bad_boxes_are_left_out_of_a_conversion(tmp_path: Path) -> None:
    boxes = ([1, 2, 9, 9], [1, 4, 0, 16])
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 30, "height": 20}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
    }
    ann, out = tmp_path / "ann.json", tmp_path / "out.json"
    ann.write_text(json.dumps(content))
    refused = call("convert", ann, "--to", "coco", "--out", out)
    assert refused.exit_code == 3
    assert "--skip-bad" in refused.stderr
    result = call("convert", ann, "--to", "coco", "--out", out, "--skip-bad")
    assert result.exit_code == 0, result.output
    assert "left out: 1" in result.stderr
    assert "no size" in (tmp_path / "out.left_out.csv").read_text()
    assert len(json.loads(out.read_text())["annotations"]) == 1


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    for subset, value in (("train", 10), ("val", 200)):
        image = np.full((64, 96, 3), value, np.uint8)
        write_image(tmp_path / "images" / subset / f"{subset}.png", image)
        labels = tmp_path / "labels" / subset
        labels.mkdir(parents=True)
        (labels / f"{subset}.txt").write_text("0 .5 .5 .5 .5\n" * (1 + (value > 100)))
    data = "train: images/train\nval: images/val\nnames: [car]\n"
    (tmp_path / "data.yaml").write_text(data)
    return tmp_path


def test_convert_writes_each_subset(yolo: Path) -> None:
    result = call("convert", yolo, "--to", "coco", "--out", yolo / "out.json", "--json")
    assert result.exit_code == 0, result.output
    subsets = json.loads(result.stdout)["subsets"]
    assert {name: part["annotations"] for name, part in subsets.items()} == {"train": 1, "val": 2}
    assert (yolo / "out_train.json").is_file()
    assert (yolo / "out_val.json").is_file()
    one = call("convert", yolo, "--subset", "val", "--to", "voc", "--out", yolo / "voc", "--json")
    assert json.loads(one.stdout)["annotations"] == 2
    assert (yolo / "voc" / "Annotations").is_dir()


def test_a_command_names_the_subset_it_reads(yolo: Path) -> None:
    result = call("visualize", yolo / "data.yaml", "--out", yolo / "pictures")
    assert result.exit_code == 0, result.output
    assert "the subset val is read" in result.stderr
    absent = call("visualize", yolo, "--subset", "test", "--out", yolo / "more")
    assert absent.exit_code == 2
    assert "no subset 'test'" in absent.stderr


def test_check_looks_at_every_subset(yolo: Path) -> None:
    result = call("check", yolo)
    assert result.exit_code == 0, result.output
    assert "train: 1 objects" in result.stdout
    assert "val: 2 objects" in result.stdout
    only = json.loads(call("check", yolo, "--subset", "val", "--json").stdout)
    assert only["profile"]["images"] == 1
