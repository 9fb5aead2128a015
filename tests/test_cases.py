"""Which tests hold the public reports of data that were read wrongly, by the reports' numbers.

``docs/formats.md`` says how such data are read; the tests name their sources.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

CASES: dict[str, tuple[str, ...]] = {
    "01 a YOLO YAML merged val into training": (
        "data/formats/test_subsets.py::test_which_subset_a_command_takes",
        "engine/test_training_run.py::test_a_yaml_trains_on_train_and_validates_on_val",
    ),
    "03 labels were not found in silence": (
        "data/formats/test_layouts.py::test_yolo_labels_in_other_cases",
        "data/formats/test_layouts.py::test_images_without_labels",
        "data/formats/test_subsets.py::test_a_subset_without_annotations",
    ),
    "05 VisDrone's ignored regions were a class": (
        "data/formats/test_coco_tools.py::test_ignore_regions_by_another_name",
        "data/formats/test_reading.py::test_names_of_ignore_regions",
    ),
    "07 FAIR1M was an empty Pascal VOC": (
        "data/formats/test_releases.py::test_fair1m",
        "data/formats/test_layouts.py::test_xml_of_other_tools_is_no_empty_image",
    ),
    "09 COCO's area contradicts the box": (
        "data/formats/test_areas.py::test_areas_that_are_none_of_the_boxes_give_way",
    ),
    "11 predictions of a folder met other image ids": (
        "cli/test_predict_command.py::test_predictions_of_a_folder_are_joined_by_name",
        "data/predictions/test_joining.py"
        "::test_the_list_beside_predictions_says_which_image_is_meant",
    ),
    "13 an image of 16 bits turned black": (
        "data/images/test_decoding.py::test_16_bits_are_scaled_by_the_bits_in_use",
    ),
    "15 CVAT's rotation was dropped": (
        "data/formats/test_coco_tools.py::test_rotation_of_cvat",
    ),
    "17 YOLO's segments became ignore regions": (
        "data/formats/test_label_formats.py::test_yolo_segments_become_the_boxes_around_them",
    ),
    "19 angles in degrees": (
        "data/formats/test_releases.py::test_angles_in_degrees_are_refused_unless_said_so",
        "data/predictions/test_storage.py::test_angles_in_degrees_are_refused",
    ),
    "21 hidden folders counted as data": (
        "data/formats/test_layouts.py::test_hidden_files_and_folders_are_no_data",
    ),
    "23 evaluation on a part of the images": (
        "evaluation/test_doubts.py::test_images_without_prediction",
        "cli/test_eval.py::test_classes_and_images_in_common",
    ),
    "24 iscrowd was not heeded in silence": (
        "evaluation/test_doubts.py::test_flags_that_the_protocol_does_not_heed",
    ),
    "25 VOC's list of classes made subsets differ": (
        "data/formats/test_subsets.py::test_voc_subsets_share_their_classes",
        "data/formats/test_subsets.py::test_lists_of_pascal_voc",
    ),
    "27 Roboflow's COCO folder was SODA-A": (
        "data/formats/test_subsets.py::test_roboflow_coco",
    ),
    "29 predictions with image names for ids": (
        "data/predictions/test_joining.py::test_an_image_by_id_or_name",
    ),
    "31 a YAML names a test folder that is not there": (
        "data/formats/test_subsets.py::test_a_subset_that_is_absent_is_an_error_only_if_asked_for",
    ),
    "33 YOLO's lists from another machine": (
        "data/formats/test_layouts.py::test_yolo_paths_of_another_machine",
        "data/formats/test_resolve.py::test_all_formats_that_state_names",
    ),
    "35 no way past a box without size": (
        "data/test_left_out.py::test_bad_boxes_are_left_out_and_listed",
        "data/formats/test_coco_tools.py::test_broken_boxes_of_a_release_are_left_out",
        "cli/test_eval.py::test_bad_boxes_are_left_out",
    ),
    "37 one broken image ended predict and train": (
        "engine/test_predict.py::test_a_broken_image_is_left_out",
        "engine/test_training_run.py::test_broken_images_are_left_out_and_listed",
    ),
    "38 darknet's names and lists": (
        "data/formats/test_layouts.py::test_cvat_yolo",
        "data/formats/test_class_lists.py::test_one_name_a_line",
    ),
    "39 a root folder was recognised, its images not found": (
        "data/formats/test_layouts.py::test_rolabelimg",
    ),
    "41 numbers as floats or text": (
        "data/formats/test_coco_tools.py::test_whole_numbers_as_floats_or_text",
        "data/formats/test_coco_tools.py::test_a_wrong_image_is_one_error",
        "test_json_text.py::test_a_wrong_form_is_said_in_plain_words",
    ),
    "42 COCO with segmentation only": (
        "data/formats/test_coco_tools.py::test_the_box_around_a_segmentation",
        "data/formats/test_coco_tools.py::test_compressed_run_lengths",
    ),
    "43 a checkpoint knows other classes": (
        "engine/test_targets.py::test_some_classes_and_case",
        "cli/test_predict_command.py::test_predict_for_other_classes",
    ),
    "44 corners of DIOR-R and MAR20": (
        "data/formats/test_releases.py::test_dior_r_and_mar20",
    ),
    "45 HRSC2016": (
        "data/formats/test_releases.py::test_hrsc2016",
    ),
    "46 VisDrone's text": (
        "data/formats/test_releases.py::test_visdrone",
    ),
    "47 driving formats": (
        "data/formats/test_releases.py::test_kitti",
        "data/formats/test_releases.py::test_bdd100k",
    ),
    "48 labelme was SODA-A": (
        "data/formats/test_layouts.py::test_json_of_other_tools_is_named",
    ),
    "50 predictions as DOTA's Task 1 or text": (
        "data/predictions/test_text_files.py::test_task_1_as_folder_zip_and_file",
        "data/predictions/test_text_files.py::test_yolo_with_scores",
        "data/predictions/test_text_files.py::test_visdrone_results",
    ),
    "51 DOTA's difficult had no switch": (
        "data/formats/test_releases.py::test_difficult_objects_count_from_dota_15_on",
    ),
    "53 Roboflow's root category": (
        "data/formats/test_coco_tools.py::test_the_root_of_the_categories_is_no_class",
    ),
    "54 all are iscrowd, from masks": (
        "data/checking/test_oddities.py::test_most_objects_iscrowd",
    ),
    "55 DOTA as unpacked": (
        "data/formats/test_layouts.py::test_dota_as_unpacked",
    ),
    "56 predictions as corners": (
        "evaluation/test_doubts.py::test_corners_for_sizes",
        "data/formats/test_doubtful.py::test_corners_are_noted",
    ),
    "57 the images have another suffix": (
        "data/formats/test_resolve.py::test_the_one_file_is_taken",
        "data/formats/test_resolve.py::test_all_formats_that_state_names",
    ),
    "58 Label Studio's YOLO was SODA-A": (
        "data/formats/test_layouts.py::test_label_studio_yolo",
        "data/formats/test_class_lists.py::test_numbers_are_never_shifted",
    ),
}  # fmt: skip


@cache
def functions(path: Path) -> frozenset[str]:
    found = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("case", CASES)
def test_the_tests_of_a_case_are_there(case: str) -> None:
    for place in CASES[case]:
        file, name = place.split("::")
        assert name in functions(TESTS / file), place


def test_every_case_has_its_own_number() -> None:
    numbers = [case.split()[0] for case in CASES]
    assert len(set(numbers)) == len(numbers) == 38
