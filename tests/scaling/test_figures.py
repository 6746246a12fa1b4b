# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Figures show what the table says: their lines, points, intervals, names and captions."""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from vit_jax import cli, pictures
from vit_jax.errors import UserError
from vit_jax.scaling import figures, points, published, table
from vit_jax.scaling.figures import Options, axes, canvas, naming

MODELS = {"ResNet": (("resnet_8", 2.7e5),), "ViT": (("vit_2x64", 1e5), ("vit_4x128", 8e5))}


def rows():
    """A study: 3 models, 4 sizes of the training set, 2 augmentations, 3 seeds."""
    rng = np.random.default_rng(5)
    for family, models in MODELS.items():
        for (model, count), share, augmentation, seed in itertools.product(
            models, (0.02, 0.1, 0.5, 1.0), ("none", "strong"), range(3)
        ):
            gain = {"none": 1.0, "strong": 3.0}[augmentation]
            error = 0.9 * (gain * 50 * share) ** -0.3 * math.exp(0.05 * rng.standard_normal())
            yield {
                "family": family, "model": model, "parameters": count, "seed": seed,
                "examples": 50000 * share, "augmentation": augmentation, "flops": 3e9 * count,
                "error": error, "accuracy": 1 - error, "data": f"{share:.0%}",
            }  # fmt: skip


def shape_rows():
    for size, depth, seed in itertools.product(("small", "large"), (2, 4, 8, 16), range(2)):
        best = {"small": 4, "large": 8}[size]
        error = 0.2 + 0.05 * math.log2(depth / best) ** 2 + 0.01 * seed
        model = f"{depth}x{size}"
        yield {"model": model, "size": size, "depth": str(depth), "seed": seed, "error": error}


def compute_rows(noise=0.01):
    rng = np.random.default_rng(6)
    for model, steps in itertools.product(("S", "M", "B"), (100, 300, 1000, 3000, 10000, 30000)):
        flops = {"S": 1e12, "M": 5e12, "B": 2.5e13}[model] * steps
        error = 0.1 + 0.5 * (flops / 1e15 + 1) ** -0.4 * math.exp(noise * rng.standard_normal())
        yield {"family": "ViT", "model": model, "flops": flops, "steps": steps, "seed": 0,
               "error": error, "accuracy": 1 - error, "duration": f"{steps}"}  # fmt: skip


@pytest.fixture(scope="module")
def study():
    return table.from_rows(list(rows()))


def drawn(name, found, **options):
    with pictures.style():
        return figures.draw(name, found, Options(**options))


def lines(panel):
    """Returns (x, y) of every line, without the caps of intervals."""
    found = [line for line in panel.get_lines() if line.get_marker() != "_"]
    return [tuple(map(list, line.get_data())) for line in found]


def texts(panel):
    return [text.get_text() for text in panel.texts]


def caption(figure):
    return figure.get_supxlabel().replace("\n", " ")


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def test_data_has_a_line_a_model_with_means_and_intervals(study):
    found = points.choose(study, ["augmentation=none"])
    figure = drawn("data", found)
    (panel,) = figure.axes
    assert panel.get_xscale() == "log"
    assert panel.get_yscale() == "linear"
    assert [t.get_text() for t in panel.get_xticklabels()] == ["1k", "5k", "25k", "50k"]
    assert all(t.get_text().endswith(" %") for t in panel.get_yticklabels())
    assert sorted(texts(panel)) == ["resnet_8", "vit_2x64", "vit_4x128"]
    assert legend(figure) == ["ResNet", "ViT"]
    assert panel.get_xlabel() == "training images"
    assert panel.get_ylabel() == "accuracy"
    gathered = points.gather(found.where(model="vit_4x128"), "accuracy", "examples")
    expected = [list(gathered.mean("examples")), list(gathered.mean("accuracy"))]
    assert any(np.allclose([x, y], expected) for x, y in lines(panel) if len(x) == 4)
    segments = np.concatenate([bar.get_segments() for bar in panel.collections])
    low, high = gathered.interval("accuracy")
    for x, ends in zip(gathered.mean("examples"), zip(low, high, strict=True), strict=True):
        assert any(np.allclose(s, [[x, ends[0]], [x, ends[1]]]) for s in segments)
    assert caption(figure) == "Bars: Student's 95 % interval of the mean over seeds."


def test_families_of_one_model_are_named_by_the_family(study):
    one_each = study.where(model=("resnet_8", "vit_2x64"))
    figure = drawn("data", one_each.where(augmentation="none"))
    assert (sorted(texts(figure.axes[0])), legend(figure)) == (["ResNet", "ViT"], [])
    figure = drawn("data", one_each, panels="augmentation")
    assert [texts(panel) for panel in figure.axes] == [[], []]
    assert legend(figure) == ["ResNet", "ViT"]


def test_of_several_conditions_the_best_is_drawn_and_said(study):
    figure = drawn("data", study.where(model="vit_2x64"))
    (line,) = (each for each in lines(figure.axes[0]) if len(each[0]) == 4)
    strong = points.gather(study.where(model="vit_2x64", augmentation="strong"), "accuracy")
    np.testing.assert_allclose(line[1], strong.mean("accuracy"))
    assert "Shown: the highest accuracy of up to 2 conditions." in caption(figure)


def test_panels_share_their_axes(study):
    figure = drawn("data", study, panels="augmentation")
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("augmentation none", "augmentation strong")
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylabel() == "accuracy"
    assert right.get_ylabel() == ""
    figure = drawn("data", study, panels="model", by="augmentation")
    assert legend(figure) == ["augmentation none", "augmentation strong"]
    assert not [text for panel in figure.axes for text in texts(panel)]  # which say no more


def test_published_points_are_open_and_named_with_their_source(study):
    paper = published.read("vit_data")
    figure = drawn("data", points.choose(study, ["augmentation=none"]), published=(paper,))
    (panel,) = figure.axes
    hollow = [line for line in panel.get_lines() if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 5
    values = np.sort(np.concatenate([line.get_ydata() for line in hollow]))
    np.testing.assert_allclose(values, np.sort(paper.column("accuracy")))
    assert {"ViT-L/16 (paper)", "vit_2x64"} <= set(texts(panel))
    assert legend(figure) == ["ResNet", "ViT", "ViT, published"]
    assert "Open markers: ViT (arXiv 2010.11929), table 5." in caption(figure)


def test_compute_has_the_frontier_and_the_law():
    found = table.from_rows(list(compute_rows()))
    figure = drawn("compute", found, law="saturating")
    (panel,) = figure.axes
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert legend(figure)[0] == "frontier"
    assert legend(figure)[1].startswith("a (C + d)^-b + c, fitted to the frontier")
    assert sorted(texts(panel)) == ["B", "M", "S"]
    runs = [y for x, y in lines(panel) if len(x) == 6]
    expected = [found.where(model=model).column("error") for model in "SMB"]
    assert all(any(np.allclose(y, want) for y in runs) for want in expected)
    best = points.frontier(found.column("flops"), found.column("error"))
    (dotted,) = (line for line in panel.get_lines() if line.get_color() == "black"
                 and len(line.get_xdata()) < 100)  # fmt: skip
    np.testing.assert_allclose(dotted.get_ydata(), found.column("error")[best])
    (law,) = (y for x, y in lines(panel) if len(x) == 200)
    grid = next(x for x, y in lines(panel) if len(x) == 200)
    truth = 0.1 + 0.5 * (np.array(grid) / 1e15 + 1) ** -0.4
    np.testing.assert_allclose(law, truth, rtol=0.05)
    band = panel.collections[-1].get_paths()[0].vertices
    assert band[:, 1].min() < min(law)
    assert "Law with b = 0." in caption(figure)


def test_a_law_that_is_not_determined_is_not_drawn_and_why_is_said():
    found = table.from_rows([row for row in compute_rows() if row["model"] == "S"][1:])
    figure = drawn("compute", found, law="saturating")
    assert not [x for x, _ in lines(figure.axes[0]) if len(x) == 200]
    assert caption(figure).startswith("No law is drawn, as ")


def test_accuracy_over_compute_has_its_frontier_above():
    found = published.read("vit_compute")
    figure = drawn("compute", found, value="accuracy")
    (panel,) = figure.axes
    assert panel.get_xlabel() == "compute of training (EFLOPs)"
    assert [t.get_text() for t in panel.get_xticklabels()] == ["100", "300", "1,000", "3,000"]
    (dotted,) = (line for line in panel.get_lines() if line.get_color() == "black")
    assert dotted.get_ydata()[-1] == 0.8808
    assert (np.diff(dotted.get_ydata()) > 0).all()
    assert set(legend(figure)) == {"ViT", "ResNet", "Hybrid", "frontier"}
    assert "R50x1+ViT-B/32" in texts(panel)
    assert caption(figure) == "Numbers of ViT (arXiv 2010.11929), table 6."


def test_a_heat_map_has_a_number_a_cell_and_frames_the_best_of_each_column(study):
    figure = drawn("heat_map", study, panels="family")
    resnet, vit, _ = figure.axes
    assert resnet.get_title() == "family ResNet"
    cells = np.array([float(text) for text in texts(resnet)]).reshape(2, 4)
    gathered = points.gather(study.where(family="ResNet"), "accuracy")
    means = gathered.mean("accuracy").reshape(4, 2).T  # examples outside, augmentation inside
    np.testing.assert_allclose(cells, 100 * means, atol=0.051)
    assert [t.get_text() for t in resnet.get_xticklabels()] == ["1k", "5k", "25k", "50k"]
    assert [t.get_text() for t in resnet.get_yticklabels()] == ["none", "strong"]
    assert sorted(round(p.get_y() + 0.46) for p in resnet.patches) == [1, 1, 1, 1]
    assert "Shown: the highest accuracy of up to 2 conditions." in caption(figure)
    assert "Means over seeds." in caption(figure)
    assert vit.get_ylabel() == ""


def test_a_cell_that_was_not_measured_is_empty(study):
    found = study.take(np.array([row["data"] != "2%" or row["augmentation"] == "none"
                                 for row in study.rows()]))  # fmt: skip
    figure = drawn("heat_map", found, x="data", y="augmentation")
    assert texts(figure.axes[0]).count("-") == 1


def test_a_shape_sweep_rings_the_best_of_each_line():
    figure = drawn("shape", table.from_rows(list(shape_rows())))
    (panel,) = figure.axes
    assert panel.get_xlabel() == "depth"
    assert [t.get_text() for t in panel.get_xticklabels()] == ["2", "4", "8", "16"]
    assert sorted(texts(panel)) == ["size large", "size small"]
    rings = [line.get_data() for line in panel.get_lines() if line.get_markersize() == 13]
    assert sorted(float(x[0]) for x, _ in rings) == [4, 8]
    assert "Bars: the range of two seeds. Ringed: the best of each line." in caption(figure)


def test_a_star_sweep_has_a_line_a_duration():
    """The label of the shape is the depth by another name, and no axis of its own."""
    sweep = [
        {"model": "vit", "shape": f"depth {depth}", "depth": str(depth), "duration": f"{k}k",
         "flops": 1e12 * depth * k, "steps": 1000 * k, "seed": 0, "error": 0.3 / k + 0.1 / depth}
        for depth, k in itertools.product((2, 4, 8), (1, 2))
    ]  # fmt: skip
    (panel,) = drawn("shape", table.from_rows(sweep)).axes
    assert sorted(texts(panel)) == ["duration 1k", "duration 2k"]
    (panel,) = drawn("compute", table.from_rows(sweep), by="shape").axes
    assert [len(x) for x, _ in lines(panel)][:3] == [2, 2, 2]  # one model: no names
    assert not texts(panel)


def test_of_a_star_sweep_one_arm_is_chosen():
    """What varies in another direction is no rival of the centre."""
    shapes = [(depth, 64) for depth in (2, 4, 8)] + [(4, width) for width in (32, 128)]
    sweep = table.from_rows(
        [
            {"model": "vit", "shape": f"{depth} {width}", "depth": str(depth), "width": str(width),
             "duration": f"{k}k", "steps": 1000 * k, "seed": 0,
             "error": 0.3 / k + 0.1 / depth + 1 / width}
            for (depth, width), k in itertools.product(shapes, (1, 2))
        ]
    )  # fmt: skip
    with pytest.raises(UserError, match="every shape has one depth; choose the rows that agree"):
        drawn("shape", sweep, x="depth")
    (panel,) = drawn("shape", points.choose(sweep, ["width=64"]), x="depth").axes
    drawn_lines = {len(x): y for x, y in lines(panel)}
    assert sorted(texts(panel)) == ["duration 1k", "duration 2k"]
    np.testing.assert_allclose(drawn_lines[3], [0.15 + 0.1 / d + 1 / 64 for d in (2, 4, 8)])


def test_an_interval_that_reaches_below_nothing_leaves_the_axis_logarithmic(tmp_path):
    spread = {0: 0.01, 1: 0.02, 2: 0.2}
    found = table.from_rows(
        [{"flops": x, "seed": s, "error": e} for x in (1e15, 1e16, 1e17) for s, e in spread.items()]
    )
    with pictures.style():
        figure = figures.draw("compute", found, Options())
        pictures.save(figure, tmp_path / "a.png")
    (panel,) = figure.axes
    assert points.gather(found, "error").interval("error")[0].max() < 0
    assert panel.get_yscale() == "log"
    low, high = panel.get_ylim()
    assert low < np.mean(list(spread.values())) < 0.2 < high


def test_only_durations_are_joined(study):
    figure = drawn("compute", study)
    assert max(len(x) for x, _ in lines(figure.axes[0])[:-1]) == 1
    assert "Larger markers: more training images." in caption(figure)
    sizes = {
        line.get_markersize() for line in figure.axes[0].get_lines() if line.get_marker() == "o"
    }
    assert len(sizes) == 4


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("dta", {}, "unknown figure 'dta'; did you mean 'data'"),
        ("data", {"law": "power"}, "--law means nothing to --figure=data"),
        ("heat_map", {"published": (1,)}, "--published means nothing to --figure=heat_map"),
        ("data", {"x": "exmples"}, "no column 'exmples'; did you mean 'examples'"),
        ("data", {"value": "augmentation"}, "'augmentation' holds texts"),
        ("data", {"by": "famly"}, "no column 'famly'; did you mean 'family'"),
        ("data", {"panels": "famly"}, "no column 'famly'; did you mean 'family'"),
        ("compute", {"law": "parametric"}, "is no function of compute alone"),
        ("compute", {"law": "powr"}, "unknown scaling law 'powr'"),
        ("compute", {"law": "power", "value": "accuracy"}, "laws fall and accuracy rises"),
        ("shape", {}, "name the shape parameter with --x; no axis of the table has numbers"),
        ("heat_map", {"y": "augmentatio"}, "no column 'augmentatio'; did you mean"),
    ],
)
def test_what_cannot_be_drawn_is_said(study, name, options, complaint):
    with pytest.raises(UserError, match=complaint):
        drawn(name, study, **options)


def test_what_a_table_lacks_is_said(study):
    with pytest.raises(UserError, match="name the axis of the rows with --y; it has no other"):
        drawn("heat_map", study.where(augmentation="none"), x="data")
    with pytest.raises(UserError, match=r"ViT \(arXiv 2010.11929\), table 6: .* no column 'exam"):
        drawn("data", study, published=(published.read("vit_compute"),))
    many = table.from_rows([{"error": 0.1 * i, "examples": i, "k": str(i)} for i in range(1, 14)])
    with pytest.raises(UserError, match="--panels=k: 13 values, more than 12 panels"):
        drawn("data", many, panels="k")


def test_the_command_draws_png_and_svg(study, tmp_path, capsys):
    table.write(list(rows()), tmp_path)
    words = ["scaling", "plot", str(tmp_path), "--figure=data", "--where", "augmentation=none"]
    assert cli.main([*words, f"--to={tmp_path}/new/data.png"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/new/data.png\n"
    image = np.asarray(Image.open(tmp_path / "new/data.png").convert("RGB"))
    assert min(image.shape[:2]) > 300
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
    assert cli.main([*words, f"--to={tmp_path}/data.svg", "--published=vit_data"]) == 0
    assert ElementTree.parse(tmp_path / "data.svg").getroot().tag.endswith("svg")
    assert cli.main([*words, f"--to={tmp_path}/data.pdf"]) == 2
    assert "a figure is a .png or a .svg" in capsys.readouterr().err
    assert cli.main([*words[:3], "--figure=data", "--to=a.png", "--where", "family=VT"]) == 2
    assert "did you mean 'ViT'" in capsys.readouterr().err


def test_names_at_the_ends_are_moved_apart_and_no_further():
    rng = np.random.default_rng(2)
    wanted = np.sort(rng.random(12))
    places = naming.apart(wanted.tolist(), 0.05)
    assert (np.diff(places) > 0.05 - 1e-9).all()
    np.testing.assert_allclose(places.mean(), wanted.mean())
    np.testing.assert_allclose(naming.apart([0.1, 0.5], 0.05), [0.1, 0.5])
    np.testing.assert_allclose(naming.apart([0.5, 0.5], 0.1), [0.45, 0.55])


def test_names_beside_points_do_not_overlap():
    rng = np.random.default_rng(4)
    spots = rng.random((14, 2))
    with pictures.style():
        figure, ((panel, _),) = canvas.panels(table.from_rows([{"error": 1.0}]), "")
        panel.plot(*spots.T, "o")
        names = [naming.Name(f"ViT-{i}/16", *spot, "black") for i, spot in enumerate(spots)]
        naming.beside(panel, names)
        figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in panel.texts]  # without its leader
    assert len(boxes) == 14
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    ("name", "values", "labels", "title"),
    [
        ("flops", [3e17, 4e19], ["0.3", "1", "3", "10", "30"], "compute of training (EFLOPs)"),
        ("flops", [3e14, 2e22], None, "compute of training (FLOPs)"),
        ("examples", [900, 1.3e6], ["1k", "10k", "100k", "1M"], "training images"),
        ("error", [0.05, 0.6], ["5 %", "10 %", "20 %", "50 %"], "error"),
        ("seconds", [600, 90000], ["0.3", "1", "3", "10", "30"], "time of training (hours)"),
        ("accuracy", [0.7, 0.9], ["70 %", "75 %", "80 %", "85 %", "90 %"], "accuracy"),
        ("loss", [2.0, 2.4], None, "loss"),
    ],
)
def test_ticks_are_round_and_in_a_unit_that_fits(name, values, labels, title):
    _, ((panel, _),) = canvas.panels(table.from_rows([{"error": 1.0}]), "")
    axes.setup(panel.xaxis, name, values)
    found = [text.get_text() for text in panel.get_xticklabels()]
    assert panel.get_xlabel() == title
    assert 3 <= len(found) <= 9
    if labels:
        assert found == labels
    low, high = panel.get_xlim()
    assert low < values[0] < values[1] < high
    assert all(low <= tick <= high for tick in panel.get_xticks())
