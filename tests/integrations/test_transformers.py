import pytest
import torch
from torch.utils.data import Dataset

from freeze.training import differing, state_of
from svcca.errors import FileError, InputError
from svcca.freeze import AdaptiveFreezing

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments  # noqa: E402

from svcca.integrations.transformers import FILE, FreezeTrainingCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


class Texts(Dataset):
    """Random tokens whose label is told by the first of them."""

    def __init__(self, n=48):
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(2, 30, (n, 7), generator=generator)
        self.labels = (self.tokens[:, 0] > 15).long()

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


class Recorder(TrainerCallback):
    def __init__(self):
        self.states = []

    def on_step_end(self, args, state, control, model, **_):
        self.states.append(state_of(model))


def bert():
    torch.manual_seed(0)
    config = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
    return BertForSequenceClassification(BertConfig(vocab_size=30, **config))


def train(callback, folder, *, resume=None, **options):
    arguments = TrainingArguments(
        output_dir=str(folder),
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **{
            "max_steps": 12,
            "per_device_train_batch_size": 8,
            "save_strategy": "no",
            "logging_strategy": "no",
            "learning_rate": 0.01,
            "weight_decay": 0.1,
            "seed": 3,
            **options,
        },
    )
    recorder = Recorder()
    trainer = Trainer(bert(), arguments, train_dataset=Texts(), callbacks=[callback, recorder])
    trainer.train(resume_from_checkpoint=resume)
    return recorder.states


def test_blocks_freeze_and_stay(tmp_path):
    callback = FreezeTrainingCallback(schedule=[2, 4])
    states = train(callback, tmp_path)
    assert callback.freezer.frozen == ("bert.embeddings", "bert.encoder.layer.0")
    assert callback.freezer.n_steps == callback.freezer.total_steps == 12
    moved = differing(states[4], states[-1])
    assert not any("embeddings" in name or "layer.0." in name for name in moved)
    assert any("layer.1." in name for name in moved)
    assert "classifier.weight" in moved
    assert callback.freezer.summary().share_of_flops_saved > 0


def test_accumulated_batches_are_one_step(tmp_path):
    callback = FreezeTrainingCallback(schedule=[2])
    train(callback, tmp_path, gradient_accumulation_steps=3, max_steps=4)
    assert callback.freezer.n_steps == 4


@pytest.mark.parametrize("kind", ["linear", "adaptive"])
def test_a_resumed_run_equals_one_without_interruption(kind, tmp_path):
    schedule = "linear"
    if kind == "adaptive":
        probe = {"input_ids": Texts().tokens}
        schedule = AdaptiveFreezing(probe, threshold=0.2, every=2, start=2, observe="mean_token")
    options = {"save_strategy": "steps", "save_steps": 7}
    whole = train(callback := FreezeTrainingCallback(schedule=schedule), tmp_path, **options)
    checkpoint = tmp_path / "checkpoint-7"
    assert (checkpoint / FILE).is_file()
    resumed = FreezeTrainingCallback(schedule=schedule)
    states = train(resumed, tmp_path, resume=str(checkpoint), **options)
    assert len(states) == 5
    assert not differing(whole[-1], states[-1])
    assert resumed.freezer.events == callback.freezer.events
    assert len(resumed.freezer.events) >= 2


def test_a_checkpoint_elsewhere_is_found_where_the_arguments_name_it(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 7}
    train(FreezeTrainingCallback(), tmp_path / "one", **options)
    checkpoint = str(tmp_path / "one" / "checkpoint-7")
    resumed = FreezeTrainingCallback()
    train(resumed, tmp_path / "two", resume=checkpoint, resume_from_checkpoint=checkpoint)
    assert resumed.freezer.n_steps == 12
    with pytest.raises(FileError, match=rf"resume from .*checkpoint-7: expected {FILE} in it; got none"):
        train(FreezeTrainingCallback(), tmp_path / "three", resume=checkpoint)


def test_arguments_that_would_make_processes_wait_are_refused(tmp_path):
    from svcca.integrations.transformers import _training_group

    class Many:
        world_size, ddp_find_unused_parameters, gradient_checkpointing = 2, False, False

    with pytest.raises(InputError, match="ddp_find_unused_parameters=True; got False"):
        _training_group(Many())
