import copy
import json
import math

import pytest
import torch
from torch import nn

import svcca
from svcca.compress import costs
from svcca.compress.compression_report import CompressedLayer, CompressionReport, NetworkCost
from svcca.errors import FileError, InputError, SampleError


def dense(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 30), nn.BatchNorm1d(30), nn.Linear(30, 4))


def convolutional():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(12, 6, 3), nn.Flatten(), nn.Linear(6 * 9, 4))


def rows(n=64, *shape):
    return torch.randn(n, *(shape or (10,)), generator=torch.Generator().manual_seed(1))


def compressed(model, data, **options):
    return svcca.compress(model, data, against="pca", progress=False, **options)


def example(**options):
    model, data = dense(), rows()
    smaller = compressed(model, data, layers=["2", "4"], ranks={"2": 5, "4": 3})
    return svcca.compression_report(model, smaller, data, repeats=1, **options)


def test_each_layer_of_a_dense_network_is_counted():
    assert example().layers == (
        CompressedLayer("0", "Linear", 10, 20, None, 200, 200),
        CompressedLayer("2", "Linear", 20, 30, 5, 600, 5 * 50),
        CompressedLayer("4", "Linear", 30, 4, 3, 120, 3 * 34),
    )


def test_totals_of_a_dense_network_are_those_counted_by_hand():
    report, n = example(), 64
    weights, smaller = 200 + 600 + 120, 200 + 250 + 102
    biases, norm = 20 + 30 + 4, 2 * 30
    assert (report.before.parameters, report.after.parameters) == (weights + biases + norm, smaller + biases + norm)
    buffers = 2 * 30 * 4 + 8  # means, variances, and the number of batches seen, an int64
    assert report.before.bytes == 4 * (weights + biases + norm) + buffers
    assert report.after.bytes == 4 * (smaller + biases + norm) + buffers
    assert (report.before.flops, report.after.flops) == (2 * n * weights, 2 * n * smaller)
    assert report.share_of_flops == smaller / weights
    assert report.share_of_parameters == (smaller + biases + norm) / (weights + biases + norm)
    assert report.share_of_bytes == report.after.bytes / report.before.bytes
    assert report.n_samples == n


def test_convolutions_are_counted_by_group_and_without_the_constant_channel():
    model, data = convolutional(), rows(20, 2, 5, 5)
    smaller = compressed(model, data, layers=["2", "4"], ranks={"2": 3, "4": 5})
    report = svcca.compression_report(model, smaller, data, repeats=1)
    # Two groups of 3 directions and a constant: 8 = 2 x 4 channels, of which each output sees 4.
    grouped = 8 * 4 + 12 * 4 * 9
    plain = 12 * 5 + 6 * 5 * 9
    assert report.layers == (
        CompressedLayer("0", "Conv2d", 2, 8, None, 144, 144),
        CompressedLayer("2", "Conv2d", 8, 12, 3, 12 * 4 * 9, grouped),
        CompressedLayer("4", "Conv2d", 12, 6, 5, 6 * 12 * 9, plain),
        CompressedLayer("6", "Linear", 54, 4, None, 216, 216),
    )
    whole = 25 * 144 + 216
    assert report.before.flops == 2 * 20 * (whole + 25 * 432 + 9 * 648)
    assert report.after.flops == 2 * 20 * (whole + 25 * grouped + 25 * 60 + 9 * 270)


def test_a_folded_layer_has_its_directions_and_the_one_before_fewer_weights():
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 20), nn.Linear(20, 3)), rows()
    smaller = compressed(model, data, layers=["1", "2"], ranks={"1": 5, "2": 2})
    report = svcca.compression_report(model, smaller, data, repeats=1)
    assert report.layers == (
        CompressedLayer("0", "Linear", 10, 20, None, 200, 50),
        CompressedLayer("1", "Linear", 20, 20, 5, 400, 10),
        CompressedLayer("2", "Linear", 20, 3, 2, 60, 6),
    )
    factored = compressed(model, data, layers=["0", "1"], ranks={"0": 8, "1": 4})
    first, second = svcca.compression_report(model, factored, data, repeats=1).layers[:2]
    assert (first.directions, first.weights_after) == (8, 80 + 32)
    assert (second.directions, second.weights_after) == (4, 80)


def test_attention_is_counted_on_the_fast_path_of_torchs_transformer_layer_too():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).requires_grad_(False)
    data = rows(4, 5, 8)
    smaller = compressed(model, data, layers="linear2", ranks=4)
    report = svcca.compression_report(model, smaller, data, repeats=1)
    attention = 2 * 20 * (8 * 24 + 8 * 8) + 2 * 2 * (4 * 2 * 5 * 5 * 4)
    assert report.before.flops == attention + 2 * 20 * (128 + 128)
    assert report.after.flops == attention + 2 * 20 * (128 + 4 * 24)
    assert torch.backends.mha.get_fastpath_enabled()


def test_time_is_the_median_and_the_networks_take_turns(monkeypatch):
    model, data = dense(), rows()
    smaller, now, turns = compressed(model, data, layers="2", ranks=5), [0.0], []
    monkeypatch.setattr(costs, "perf_counter", lambda: now[0])
    times = {"model": iter([50, 50, 8, 9, 1]), "smaller": iter([70, 70, 2, 4, 3])}  # the first two are warming up

    def forward(net, batch):
        assert not torch.is_grad_enabled()
        assert not net.training
        turns.append("model" if net is model else "smaller")
        if len(turns) > 2:  # operations were counted in the first two
            now[0] += next(times[turns[-1]])
        return net(batch)

    report = svcca.compression_report(model, smaller, data, repeats=3, forward=forward)
    assert (report.before.seconds, report.after.seconds) == (8.0, 3.0)
    assert report.speedup == pytest.approx(8 / 3)
    assert report.share_of_seconds == 3 / 8
    assert turns == ["model", "smaller"] * 6
    assert (report.repeats, report.device, report.n_threads) == (3, "cpu", torch.get_num_threads())


def test_accuracy_is_measured_in_evaluation_mode_where_it_is_asked_for():
    model, data = dense().train(), rows()
    smaller, seen = compressed(model, data, layers="2", ranks=5), []

    def evaluate(net):
        seen.append((net, net.training))
        return torch.tensor(0.5 if net is model else 0.25)

    report = svcca.compression_report(model, smaller, data, evaluate=evaluate, repeats=1)
    assert seen == [(model, False), (smaller, False)]
    assert (report.before.accuracy, report.after.accuracy, report.accuracy_lost) == (0.5, 0.25, 0.25)
    assert example().accuracy_lost is None


@pytest.mark.parametrize("training", [True, False])
def test_both_networks_are_handed_back_as_they_were(training):
    model, data = dense().train(training), rows()
    smaller = compressed(model, data, layers="2", ranks=5)
    pair = (model, smaller)
    before = [copy.deepcopy(each.state_dict()) for each in pair]
    generator = torch.get_rng_state()

    def evaluate(net):
        net.train(not training)
        return float(torch.rand(()))

    svcca.compression_report(model, smaller, data, evaluate=evaluate, repeats=2)
    assert torch.equal(torch.get_rng_state(), generator)
    assert {module.training for each in pair for module in each.modules()} == {training}
    assert torch.is_grad_enabled()
    for each, state in zip(pair, before, strict=True):
        assert all(torch.equal(state[name], tensor) for name, tensor in each.state_dict().items())


def test_batches_are_understood_as_loaders_give_them_and_wrappers_taken_off():
    model, data = dense(), rows()
    smaller = compressed(model, data, layers="2", ranks=5)
    batches = [data, (data, torch.zeros(64)), data.numpy()]
    reports = [svcca.compression_report(nn.DataParallel(model), smaller, batch, repeats=1) for batch in batches]
    assert [report.before.flops for report in reports] == [example().before.flops] * 3
    assert [report.n_samples for report in reports] == [64] * 3
    assert reports[0].title == "Sequential"


def test_weights_that_are_shared_count_once():
    model, data = dense(), rows()
    model.append(nn.Linear(4, 4)).append(nn.Linear(4, 4))
    model[6].weight = model[5].weight
    report = svcca.compression_report(model, compressed(model, data, layers="2", ranks=5), data, repeats=1)
    assert report.before.parameters == example().before.parameters + 16 + 4 + 4


class Renamed(nn.Sequential):
    pass


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda net: net.append(nn.ReLU()), "the same modules in both; got '5' in the smaller alone"),
        (lambda net: net.__delitem__(4), "the same modules in both; got '4' in one alone"),
        (lambda net: net.__setitem__(1, nn.Tanh()), "the same kind of module as '1'; got ReLU and Tanh"),
        (lambda net: net.__setitem__(2, nn.Identity()), "a Linear or two of them as '2'; got Identity"),
        (lambda net: net.__setitem__(2, nn.Conv2d(20, 30, 1)), "a Linear or two of them as '2'; got Conv2d"),
        (lambda net: net.__setitem__(2, nn.Sequential(nn.Linear(20, 3), nn.ReLU())), "as '2'; got Sequential of 2"),
        (lambda net: net.__setitem__(2, nn.Sequential()), "as '2'; got Sequential of 0"),
        (lambda net: net.__setitem__(0, nn.Linear(11, 20)), "'0' of 10 inputs and 20 outputs at most; got 11 and 20"),
        (lambda net: net.__setitem__(0, nn.Linear(10, 21)), "got 10 and 21"),
    ],
)
def test_networks_whose_modules_do_not_correspond_are_refused(change, text):
    other = dense()
    change(other)
    with pytest.raises(InputError, match=f"compression_report of Sequential: expected .*{text}"):
        svcca.compression_report(dense(), other, rows(), repeats=1)


def test_a_network_of_another_class_is_refused():
    with pytest.raises(InputError, match="the same kind of module as 'the whole'; got Sequential and Renamed"):
        svcca.compression_report(dense(), Renamed(*dense()), rows(), repeats=1)


@pytest.mark.parametrize("repeats", [0, -1, 1.5, True])
def test_repeats_that_cannot_be_are_refused(repeats):
    with pytest.raises(InputError, match=f"compression_report repeats: expected .* at least 1; got {repeats}"):
        svcca.compression_report(dense(), dense(), rows(), repeats=repeats)


@pytest.mark.parametrize("value", [None, math.nan, "high", torch.ones(2)])
def test_an_evaluation_that_gives_no_finite_number_is_refused(value):
    with pytest.raises(InputError, match=r"evaluate: expected a finite number from evaluate.model."):
        svcca.compression_report(dense(), dense(), rows(), evaluate=lambda _: value, repeats=1)


def test_networks_on_two_devices_and_batches_without_samples_are_refused():
    with pytest.raises(InputError, match="both models on one device; got cpu, meta"):
        svcca.compression_report(dense(), dense().to("meta"), rows(), repeats=1)
    with pytest.raises(SampleError, match="compression_report batch: expected at least one sample"):
        svcca.compression_report(dense(), dense(), rows(0), repeats=1)


def test_it_is_saved_and_loaded(tmp_path):
    for report in (example(), example(evaluate=lambda _: 0.5)):
        path = report.save(tmp_path / "report.json")
        assert CompressionReport.load(path) == report
        assert json.loads(path.read_text())["format"] == "svcca.compression_report"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda plain: plain.update(format="other"), 'JSON with "format": "svcca.compression_report"'),
        (lambda plain: plain.update(version=2), "format version 1; got 2"),
        (lambda plain: plain.pop("layers"), "every field of a CompressionReport; got 'layers'"),
        (lambda plain: plain.pop("n_samples"), "every field of a CompressionReport"),
        (lambda plain: plain["before"].pop("flops"), "every field of a CompressionReport"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, text):
    plain = example().to_dict()
    change(plain)
    (tmp_path / "report.json").write_text(json.dumps(plain))
    with pytest.raises(FileError, match=text):
        CompressionReport.load(tmp_path / "report.json")


def test_tables_hold_layers_and_totals():
    report = example()
    frame = report.to_frame()
    assert frame.index.tolist() == ["0", "2", "4"]
    assert frame["directions"].isna().tolist() == [True, False, False]
    assert frame.loc["2"].tolist() == ["Linear", 20, 30, 5, 600, 250]
    totals = report.totals_to_frame()
    assert totals.index.tolist() == ["parameters", "bytes", "flops", "seconds", "accuracy"]
    assert totals.loc["flops"].tolist() == [report.before.flops, report.after.flops, report.share_of_flops]
    assert math.isnan(totals.loc["accuracy", "share"])


def test_it_prints_what_it_bought_in_columns():
    layers = (
        CompressedLayer("conv", "Conv2d", 8, 16, None, 1152, 1152),
        CompressedLayer("classifier.fc1", "Linear", 2048, 512, 300, 1_048_576, 768_000),
    )
    before = NetworkCost(1_050_000, 4_200_000, 2_000_000, 0.004, 0.75)
    after = NetworkCost(770_000, 3_080_000, 1_500_000, 0.0025, 0.7462)
    report = CompressionReport(layers, before, after, 1024, 20, "cpu", 2, "Net")
    assert str(report).splitlines() == [
        "Net, a batch of 1,024 on cpu, 2 threads, 20 forward passes timed",
        "  layer           kind    inputs  outputs  directions    weights    after",
        "  conv            Conv2d       8       16         all      1,152    1,152",
        "  classifier.fc1  Linear   2,048      512         300  1,048,576  768,000",
        "",
        "                   before      after    share",
        "  parameters    1,050,000    770,000    73.3%",
        "  memory           4.2 MB    3.08 MB    73.3%",
        "  operations    2,000,000  1,500,000    75.0%",
        "  forward pass       4 ms     2.5 ms    62.5%",
        "  accuracy           0.75     0.7462  -0.0038",
    ]


def test_a_network_without_operations_that_are_counted_has_no_share_of_them():
    cost = NetworkCost(10, 40, 0, 1.0)
    report = CompressionReport((), cost, cost, 1, 1, "cpu", 1)
    assert math.isnan(report.share_of_flops)
    assert str(report).splitlines()[-2].split() == ["operations", "0", "0", "-"]
    assert "1 thread," in str(report)
    assert report.to_frame().empty


def test_a_gpu_is_waited_for_before_and_after_each_pass(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    gpu, model, data = torch.device("cuda", 0), dense().eval(), rows()
    costs._seconds((model, model), data, lambda net, batch: waits.append("pass"), 1, gpu)
    assert waits == [gpu, "pass", gpu] * 2 * (costs.WARM_UPS + 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_networks_on_a_gpu_are_measured_there():
    model, data = dense().cuda(), rows()
    smaller = compressed(model, data, layers=["2", "4"], ranks={"2": 5, "4": 3})
    report = svcca.compression_report(model, smaller, data, repeats=2)
    assert report.device == f"cuda:0 ({torch.cuda.get_device_name(0)})"
    assert (report.layers, report.before.flops) == (example().layers, example().before.flops)
    assert report.before.seconds > 0
