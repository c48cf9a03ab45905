"""What each of two processes does in the test of distributed training; spawned, and so in a file of its own."""

import torch
from torch import distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from freeze.training import OPTIMIZERS, batches, conv_net, data, state_of
from svcca import FreezeTraining
from svcca.freeze import AdaptiveFreezing


def train_together(rank, folder, kind):
    """Train on every second batch, save what came of it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = conv_net()
    model[8].p = 0.0
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = OPTIMIZERS["sgd"](wrapped.parameters())
    schedule = "linear"
    if kind == "adaptive":  # each sees other inputs: only an agreement lets them freeze alike
        schedule = AdaptiveFreezing(data(60, seed=rank)[0], threshold=0.9, patience=1, every=2, start=2)
    freezer = FreezeTraining(wrapped, optimizer, schedule=schedule, total_steps=12)
    first = None
    for number, (images, labels) in enumerate(batches(24)):
        if number % 2 != rank:
            continue
        wrapped.train()
        optimizer.zero_grad()
        cross_entropy(wrapped(images), labels).backward()
        optimizer.step()
        freezer.step()
        if freezer.frozen and first is None:
            first = state_of(model)
    events = [(event.block, event.step, event.reason) for event in freezer.events]
    torch.save({"events": events, "first": first, "state": model.state_dict()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
