import json

import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

import svcca
from svcca.compress import compression_curve
from svcca.compress.compress import Compressor
from svcca.compress.compression_curve import CompressionCurve, CompressionPoint
from svcca.errors import FileError, InputError, LayerError, SvccaWarning, UnknownOptionError


def dense(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 4)).eval()


def rows():
    return torch.randn(200, 10, generator=torch.Generator().manual_seed(1))


def size(net):
    return sum(parameter.numel() for parameter in net.parameters())


def closeness(original):
    with torch.no_grad():
        wanted = original(rows())

    def evaluate(net):
        with torch.no_grad():
            return 1 - float((net(rows()) - wanted).square().mean())

    return evaluate


@pytest.mark.parametrize("method", ["logits", "outputs", "pls", "pca", "weights", "two seeds"])
def test_each_point_is_what_compress_gives(method):
    model, data = dense(), rows()
    evaluate, against = closeness(model), dense(5) if method == "two seeds" else method
    curve = compression_curve(model, data, evaluate, ratios=(0.8, 0.4), against={method: against})
    expected = []
    for ratio in (0.8, 0.4):
        smaller = svcca.compress(model, data, ratio=ratio, against=against)
        expected.append(CompressionPoint(method, ratio, size(smaller), evaluate(smaller)))
    assert curve.points == tuple(expected)
    assert (curve.parameters, curve.accuracy) == (size(model), 1.0)
    assert curve.layers == ("0", "2", "4")
    assert curve.title == "Sequential"


def test_by_default_all_methods_are_held_against_each_other():
    model = dense()
    curve = compression_curve(model, rows(), closeness(model), ratios=[0.5])
    assert curve.methods == ("outputs", "logits", "pls", "pca", "weights")
    assert len({point.accuracy for point in curve.points}) == 5
    assert all(point.parameters <= size(model) - 0.5 * (400 + 1600 + 160) for point in curve.points)


def test_layers_and_the_way_to_run_the_model_are_the_users():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = dense()

        def forward(self, *, x):
            return self.net(x)

    model = Named()
    curve = compression_curve(
        model,
        rows(),
        lambda net: float(size(net)),
        ratios=[0.5],
        against="pca",
        layers="net.2",
        forward=lambda net, batch: net(x=batch),
    )
    assert curve.layers == ("net.2",)
    assert size(model) - curve.points[0].parameters == pytest.approx(800, abs=80)


def test_the_first_measurement_is_shared_by_all_ratios(monkeypatch):
    calls, spectra = [], Compressor.spectra
    monkeypatch.setattr(Compressor, "spectra", lambda self, layers: calls.append(1) or spectra(self, layers))
    compression_curve(dense(), iter(rows().split(100)), size, ratios=(0.8, 0.6, 0.4), against=["pca", "weights"])
    assert len(calls) == 2


def test_a_ratio_that_is_too_small_is_left_out_and_said():
    # (10 + 40) + (40 + 40) + (40 + 4) weights of 2,160.
    text = "Ratio 0.01 was left out: one direction a layer takes 0.0806 of the weights already."
    with pytest.warns(SvccaWarning, match=text):
        curve = compression_curve(dense(), rows(), size, ratios=(0.5, 0.01), against=("pca", "weights"))
    assert [(point.method, point.ratio) for point in curve.points] == [("pca", 0.5), ("weights", 0.5)]
    assert curve.warnings == (text,)


def test_the_original_is_left_alone():
    model = dense().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = []
    compression_curve(model, rows(), lambda net: modes.append(net.training) or 1.0, ratios=[0.5], against="pca")
    assert modes == [False, False]
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"ratios": ()}, InputError, r"compression_curve ratios: expected shares in \(0, 1\]; got none"),
        ({"ratios": (0.5, 0.0)}, InputError, r"expected shares in \(0, 1\]; got 0"),
        ({"ratios": (1.5,)}, InputError, "got 1.5"),
        ({"against": ()}, InputError, "compression_curve against: expected at least one method; got none"),
        ({"against": {"original": "pca"}}, InputError, "got a method called 'original', as the network itself is"),
        ({"against": [nn.ReLU()]}, InputError, "expected names of methods; got ReLU. Pass a mapping"),
        ({"against": nn.ReLU()}, InputError, "expected names of methods; got ReLU"),
        ({"against": ["pca", "logit"]}, UnknownOptionError, "Did you mean 'logits'"),
        ({"layers": "9"}, LayerError, "layers of Sequential: expected names or patterns"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(options, error, text):
    with pytest.raises(error, match=text):
        compression_curve(dense(), rows(), lambda _: pytest.fail("work was done"), **options)


def test_an_evaluation_that_gives_no_number_and_data_without_a_batch_are_refused():
    with pytest.raises(InputError, match=r"evaluate: expected a finite number from evaluate.model.; got nan"):
        compression_curve(dense(), rows(), lambda _: float("nan"))
    with pytest.raises(InputError, match="data for Sequential: expected at least 2 samples; got 0 samples"):
        compression_curve(dense(), [], size)


def example():
    points = [("logits", 0.5, 600, 0.78), ("logits", 0.25, 350, 0.7), ("pca", 0.5, 590, 0.75), ("pca", 0.25, 340, 0.5)]
    return CompressionCurve(
        tuple(CompressionPoint(*point) for point in points), 1000, 0.8, ("fc1", "fc2"), "Net", ("A note.",)
    )


def test_the_table_gives_a_row_a_method_and_ratio_and_the_original():
    frame = example().to_frame()
    assert frame.index.names == ["method", "ratio"]
    assert frame.index.tolist() == [("original", 1), ("logits", 0.5), ("logits", 0.25), ("pca", 0.5), ("pca", 0.25)]
    assert frame["parameters"].tolist() == [1000, 600, 350, 590, 340]
    assert frame["share"].tolist() == [1, 0.6, 0.35, 0.59, 0.34]
    assert frame["accuracy"].tolist() == [0.8, 0.78, 0.7, 0.75, 0.5]
    assert frame["accuracy_lost"].tolist() == pytest.approx([0, 0.02, 0.1, 0.05, 0.3])


def test_it_is_saved_and_loaded(tmp_path):
    curve = example()
    path = curve.save(tmp_path / "curve.json")
    assert CompressionCurve.load(path) == curve
    assert json.loads(path.read_text())["format"] == "svcca.compression_curve"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda plain: plain.update(format="other"), 'JSON with "format": "svcca.compression_curve"'),
        (lambda plain: plain.update(version=2), "format version 1; got 2"),
        (lambda plain: plain.pop("points"), "every field of a CompressionCurve; got 'points'"),
        (lambda plain: plain.pop("parameters"), "every field of a CompressionCurve"),
        (lambda plain: plain["points"][0].pop("ratio"), "every field of a CompressionCurve"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, text):
    plain = example().to_dict()
    change(plain)
    (tmp_path / "curve.json").write_text(json.dumps(plain))
    with pytest.raises(FileError, match=text):
        CompressionCurve.load(tmp_path / "curve.json")


def test_the_plot_draws_a_line_a_method_and_the_original():
    figure, ax = example().plot()
    level, *lines, original = ax.get_lines()
    assert set(level.get_ydata()) == {0.8}
    assert [line.get_label() for line in lines] == ["logits", "pca"]
    assert [list(line.get_xdata()) for line in lines] == [[350, 600], [340, 590]]
    assert [list(line.get_ydata()) for line in lines] == [[0.7, 0.78], [0.5, 0.75]]
    assert (list(original.get_xdata()), list(original.get_ydata())) == ([1000], [0.8])
    assert len({(line.get_marker(), tuple(line.get_color())) for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["logits", "pca", "original"]
    assert ax.get_xlabel() == "parameters of the whole network"
    assert ax.get_ylabel() == "accuracy"
    assert ax.get_title(loc="left") == "Net, 2 layers compressed"
    assert ax.get_xlim()[0] == 0
    plt.close(figure)


def test_the_plot_takes_axes_and_a_curve_without_points():
    figure, ax = plt.subplots()
    curve = CompressionCurve((), 1000, 0.8, ("fc1",))
    assert curve.plot(ax)[1] is ax
    assert ax.get_title(loc="left") == "1 layer compressed"
    plt.close(figure)
