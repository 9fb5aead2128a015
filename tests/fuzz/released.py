"""Small files in the layouts of official releases, with a picture of 96 x 64 px where needed."""

from __future__ import annotations

import json

import cv2
import numpy as np

from .reader import Files

_VOC = "<annotation><filename>a.png</filename><size><width>96</width><height>64</height></size>"


def _picture() -> bytes:
    return bytes(cv2.imencode(".png", np.full((64, 96, 3), 90, np.uint8))[1])


def _corners() -> str:
    places = ("left_top", "right_top", "right_bottom", "left_bottom")
    values = ((20, 20), (34, 28), (30, 35), (16, 27))
    return "".join(
        f"<x_{place}>{x}</x_{place}><y_{place}>{y}</y_{place}>"
        for place, (x, y) in zip(places, values, strict=True)
    )


def _bdd() -> bytes:
    box = {"x1": 10, "y1": 12, "x2": 22, "y2": 21}
    labels = [
        {"id": "0", "category": "car", "box2d": box, "attributes": {"crowd": True}},
        {"id": "1", "category": "lane/single white", "poly2d": []},
    ]
    return json.dumps([{"name": "a.png", "labels": labels}, {"name": "b.png"}]).encode()


def _xview() -> bytes:
    features = [("10,12,22,21", 18), ("40,20,40,34", 73), ("1,1,5,5", 75)]
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {"properties": {"image_id": "a.png", "bounds_imcoords": bounds, "type_id": kind}}
                for bounds, kind in features
            ],
        }
    ).encode()


def releases() -> dict[str, Files]:
    """Return the files of each release below ``x``, by its name."""
    picture = _picture()
    point = "".join(f"<point>{xy}</point>" for xy in ("20,20", "34,28", "30,35", "16,27", "20,20"))
    hrsc = "".join(
        f"<mbox_{key}>{value}</mbox_{key}>"
        for key, value in (("cx", 48), ("cy", 32), ("w", 30), ("h", 7), ("ang", -0.5))
    )
    return {
        "visdrone": {
            "x/annotations/a.txt": b"10,12,12,9,1,4,0,0\n40,20,8,14,1,1,0,1\n"
            b"50,40,40,20,0,0,0,0,\n70,10,8,9,1,11,0,0\n5,5,0,4,1,4,0,0\n",
            "x/images/a.png": picture,
        },
        "kitti": {
            "x/label_2/a.txt": b"Car 0.00 0 -1.58 10 12 22 21 1.65 1.67 3.64 -0.6 1.7 46.7 -1.6\n"
            b"DontCare -1 -1 -10 50 30 90 60 -1 -1 -1 -1000 -1000 -1000 -10\n",
            "x/image_2/a.png": picture,
        },
        "bdd100k": {"x/det_train.json": _bdd()},
        "xview": {"x/xView_train.geojson": _xview(), "x/train_images/a.png": picture},
        "fair1m": {
            "x/labelXml/a.xml": f"<annotation><source><filename>a.png</filename></source><objects>"
            f"<object><possibleresult><name>Small Car</name></possibleresult><points>{point}"
            "</points></object></objects></annotation>".encode(),
            "x/images/a.png": picture,
        },
        "dior-r": {
            "x/Annotations/Oriented Bounding Boxes/a.xml": f"{_VOC}<object><name>ship</name>"
            f"<difficult>1</difficult><robndbox>{_corners()}</robndbox></object>"
            "</annotation>".encode(),
        },
        "hrsc2016": {
            "x/Annotations/a.xml": f"<HRSC_Image><Img_FileName>a</Img_FileName><Img_FileFmt>png"
            f"</Img_FileFmt><Img_SizeWidth>96</Img_SizeWidth><Img_SizeHeight>64</Img_SizeHeight>"
            f"<HRSC_Objects><HRSC_Object><Class_ID>100000013</Class_ID><difficult>0</difficult>{hrsc}"
            "</HRSC_Object></HRSC_Objects></HRSC_Image>".encode(),
        },
    }
