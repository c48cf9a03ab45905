import logging
import warnings

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from freeze.training import conv_net, data, differing, state_of
from svcca.errors import InputError
from svcca.freeze import AdaptiveFreezing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's own imports
    lightning = pytest.importorskip("lightning.pytorch")

    from svcca.integrations.lightning import FreezeTrainingCallback

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


class Classifier(lightning.LightningModule):
    """The net of the other tests; it keeps its states after each step."""

    def __init__(self):
        super().__init__()
        self.net = conv_net()
        self.states = []

    def training_step(self, batch, number):
        torch.manual_seed(100 + self.global_step)  # dropout, alike in a resumed run
        return cross_entropy(self.net(batch[0]), batch[1])

    def on_train_batch_end(self, *_):
        self.states.append(state_of(self.net))

    def validation_step(self, batch, number):
        self.net(batch[0])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]


def fit(callback, folder, *, checkpoint=None, module=None, validate=True, **options):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(TensorDataset(*data()), batch_size=16)
    trainer = lightning.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
        **{"max_epochs": 2, "enable_checkpointing": False, **options},
    )
    module = module or Classifier()
    trainer.fit(module, loader, loader if validate else None, ckpt_path=checkpoint)
    return module, trainer


def test_blocks_freeze_by_the_optimisers_steps_and_stay(tmp_path):
    callback = FreezeTrainingCallback(schedule={"0": 3})
    module, _ = fit(callback, tmp_path)
    first = {name for name in module.states[0] if name.startswith(("0.", "1."))}
    assert callback.freezer.n_steps == 12
    assert not first & differing(module.states[3], module.states[-1])  # validation in between has not thawed it
    assert differing(module.states[3], module.states[-1]) == set(module.states[0]) - first
    assert callback.freezer.summary().share_of_flops_saved > 0


def test_accumulated_batches_are_one_step(tmp_path):
    callback = FreezeTrainingCallback(schedule=[2])
    fit(callback, tmp_path, accumulate_grad_batches=3)
    assert callback.freezer.n_steps == callback.freezer.total_steps == 4
    assert [event.step for event in callback.freezer.events] == [2]


@pytest.mark.parametrize("schedule", ["linear", "adaptive"])
def test_a_resumed_run_equals_one_without_interruption(schedule, tmp_path):
    if schedule == "adaptive":
        schedule = AdaptiveFreezing(data(100, seed=7)[0], threshold=0.5, every=1, start=1)
    whole, _ = fit(callback := FreezeTrainingCallback(schedule=schedule), tmp_path, validate=False)
    saver = lightning.callbacks.ModelCheckpoint(tmp_path, every_n_epochs=1, save_top_k=-1, save_weights_only=False)
    halfway = FreezeTrainingCallback(schedule=schedule)

    class Stop(lightning.Callback):
        def on_train_epoch_end(self, trainer, module):
            trainer.should_stop = True

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(TensorDataset(*data()), batch_size=16)
    options = {
        "default_root_dir": tmp_path,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 2,
    }
    trainer = lightning.Trainer(callbacks=[halfway, saver, Stop()], **options)
    trainer.fit(Classifier(), loader)
    assert len(halfway.freezer.events) >= 1
    resumed = FreezeTrainingCallback(schedule=schedule)
    module = Classifier()
    lightning.Trainer(callbacks=[resumed], enable_checkpointing=False, **options).fit(
        module, loader, ckpt_path=saver.best_model_path
    )
    assert not differing(whole.states[-1], module.states[-1])
    assert resumed.freezer.events == callback.freezer.events


def test_a_trainer_without_an_end_is_refused(tmp_path):
    with pytest.raises(InputError, match="FreezeTrainingCallback: expected a training run with an end"):
        fit(FreezeTrainingCallback(), tmp_path, max_epochs=-1)
