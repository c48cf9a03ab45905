import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from freeze.processes import train_together
from freeze.training import conv_net, differing
from svcca import FreezeTraining
from svcca.errors import InputError

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")


@pytest.mark.parametrize("kind", ["linear", "adaptive"])
def test_two_processes_freeze_alike_and_learn_on(kind, tmp_path):
    multiprocessing.spawn(train_together, (str(tmp_path), kind), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert len(first["events"]) >= 2
    assert first["events"] == second["events"]
    parameters = [name for name, _ in conv_net().named_parameters()]
    assert not {name for name in parameters if not torch.equal(first["state"][name], second["state"][name])}
    moved = differing(first["first"], first["state"])
    assert not any(name.startswith(("0.", "1.")) for name in moved)
    assert "11.weight" in moved


def test_a_wrapper_that_waits_for_every_gradient_is_refused(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(conv_net())
        with pytest.raises(InputError, match=r"find_unused_parameters=True; got False\. Otherwise it waits"):
            FreezeTraining(wrapped, torch.optim.SGD(wrapped.parameters(), lr=0.1), total_steps=9)
    finally:
        dist.destroy_process_group()
