"""Freeze Training: blocks stop learning from the input upwards, which saves their backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from svcca.capture.layers import unwrap
from svcca.errors import InputError, message
from svcca.freeze.blocks import BlockSpec, find_blocks, named_blocks
from svcca.freeze.cost import Call, Clock, training_flops
from svcca.freeze.frozen_block import FrozenBlock
from svcca.freeze.requirements import check_optimizers, training_group
from svcca.freeze.schedules import FixedTimes, Schedule, plan_of
from svcca.freeze.summary import FreezeEvent, FreezeSummary, PhaseCost
from svcca.freeze.training_hook import TrainingHook

if TYPE_CHECKING:  # torch can be built without it
    from torch.distributed import ProcessGroup

FORMAT = "svcca.freeze_training.2"
WHERE = "FreezeTraining"


class FreezeTraining:
    """Freeze a network block by block while it trains, the lowest first, because it converges first.

    Call `step` once after every step of the optimiser. A frozen block takes no gradients, and the backward pass ends
    above it. It runs in evaluation mode (batch normalisation by its stored statistics, no dropout). Neither weight
    decay nor momentum moves it, and its state in the optimiser is released. Schedulers, gradient clipping and
    accumulation, mixed precision and saved optimisers work as before.

    Args:
        model: Network in training. DistributedDataParallel needs find_unused_parameters=True; pass the wrapper.
        optimizer: Optimiser that trains it, or several.
        blocks: Names or glob patterns from the input on, or lists of those that freeze together. Default: the layers or
            residual blocks of the network; print the object, or look at `blocks`.
        schedule: Times at which they freeze, the lowest first.

            - "linear" (the paper's): block i of L at step i / L of all, so that the last learns to the end;
            - a list of times in the order of the blocks, or a dict of them by block: steps (int) or fractions of all
              steps (float); blocks above those given never freeze;
            - `AdaptiveFreezing`: once a block is alike from one snapshot to the next.

        total_steps: Number of steps in the whole run.
        group: Processes that train together, and must freeze alike, where `model` is not a DistributedDataParallel.

    Raises:
        LayerError: If a block does not exist.
        InputError: If blocks overlap or hold no parameters, a schedule freezes nothing or everything, or an optimiser
            does not hold the blocks' parameters.

    Cost:
        A counter for fixed times; for `AdaptiveFreezing` a forward pass of its probe set at each snapshot.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.2 and figure 5.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> freezer = FreezeTraining(net, optimizer, total_steps=10)
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     net(torch.randn(16, 4)).square().mean().backward()
    ...     optimizer.step()
    ...     for name in freezer.step():
    ...         print(f"block {name} freezes after step {freezer.n_steps}")
    block 0 freezes after step 5
    >>> net[0].weight.grad is None
    True
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        blocks: Sequence[BlockSpec] | None = None,
        schedule: Schedule = "linear",
        *,
        total_steps: int,
        group: ProcessGroup | None = None,
    ) -> None:
        if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
            raise InputError(message("FreezeTraining total_steps", "a positive integer", repr(total_steps)))
        group = training_group(model) or group
        self._model = unwrap(model)
        self._optimizers = (optimizer,) if isinstance(optimizer, Optimizer) else tuple(optimizer)
        self.blocks = find_blocks(self._model) if blocks is None else named_blocks(self._model, blocks)
        check_optimizers(self._model, self.blocks, self._optimizers)
        self.total_steps = total_steps
        in_blocks = {id(self._model.get_parameter(name)) for block in self.blocks for name in block.parameters}
        all_in_blocks = all(id(p) in in_blocks for p in self._model.parameters() if p.requires_grad)
        self._clock = Clock()
        self._plan = plan_of(
            schedule, self._model, self.blocks, total_steps, self._clock, all_in_blocks=all_in_blocks, group=group
        )
        self.n_steps = 0
        self.events: tuple[FreezeEvent, ...] = ()
        self._frozen: list[FrozenBlock] = []
        self._flops: dict[int, float] = {}
        self._example: Call | None = None
        hook = TrainingHook(self._keep_example)
        self._watching = self._model.register_forward_pre_hook(hook, with_kwargs=True)
        self._clock.start_step()

    def __repr__(self) -> str:
        """Return the blocks, and which of them are frozen."""
        frozen = {event.block: event.step for event in self.events}
        lines = [
            f"  {block.name}: {block.n_parameters:,} parameters"
            + (f", frozen after step {frozen[block.name]:,}" if block.name in frozen else "")
            for block in self.blocks
        ]
        return "\n".join([f"FreezeTraining, step {self.n_steps:,} of {self.total_steps:,}, blocks:", *lines])

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the frozen blocks, from the input on."""
        return tuple(event.block for event in self.events)

    def step(self) -> tuple[str, ...]:
        """Count a step of training, and freeze the blocks that are due; call it after `optimizer.step()`.

        Returns:
            Names of the blocks that freeze now.
        """
        self.n_steps += 1
        self._clock.finish_step(len(self._frozen))
        with self._clock.overhead():
            before = len(self.events)
            self._plan.watch(self.n_steps, len(self._frozen))
            while (reason := self._plan.reason(self.n_steps, len(self._frozen))) is not None:
                block = self.blocks[len(self._frozen)]
                self.events += (FreezeEvent(block.name, self.n_steps, reason),)
                self._freeze_next()
        self._clock.start_step()
        return tuple(event.block for event in self.events[before:])

    def unfreeze(self) -> None:
        """Let every block learn again, and remove all hooks: the network is as before, with what it has learned.

        Nothing freezes from here on. The optimiser's state of the frozen parameters starts anew.
        """
        for block in self._frozen:
            block.thaw(self._model.training)
        self._frozen, self._plan = [], FixedTimes((), "unfrozen")
        self._watching.remove()

    def summary(self) -> FreezeSummary:
        """Return what froze when and why, and what that saved, as measured in this run.

        Cost:
            A forward and a backward pass on one batch for each number of frozen blocks, to count their operations.
        """
        costs = [
            PhaseCost(phase.n_frozen, phase.n_steps, phase.seconds_per_step, self._flops_per_step(phase.n_frozen))
            for phase in self._clock.phases.values()
        ]
        return FreezeSummary(
            blocks=self.blocks,
            events=self.events,
            phases=tuple(costs),
            baseline_flops_per_step=self._flops_per_step(0),
            overhead_flops=self._clock.overhead_flops,
            overhead_seconds=self._clock.overhead_seconds,
            n_steps=self.n_steps,
            total_steps=self.total_steps,
            title=type(self._model).__name__,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs: tensors, numbers and text, which torch reads with weights_only."""
        return {
            "format": FORMAT,
            "blocks": [block.name for block in self.blocks],
            "n_steps": self.n_steps,
            "total_steps": self.total_steps,
            "events": [[event.block, event.step, event.reason] for event in self.events],
            "plan": self._plan.state_dict(),
            "clock": self._clock.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state that `state_dict` returned, before or after those of the model and the optimiser.

        Raises:
            InputError: If it is the state of something else, or of other blocks.
        """
        if state.get("format") != FORMAT:
            got = repr(state.get("format", "another state dict"))
            raise InputError(message(WHERE, f"a state of format {FORMAT}", got))
        names = [block.name for block in self.blocks]
        if state["blocks"] != names:
            got = f"{', '.join(state['blocks'])}, of a run with other blocks"
            raise InputError(message(WHERE, f"the state of blocks {', '.join(names)}", got))
        if len(self.events) > len(state["events"]):
            got = f"one that comes before block {self.events[-1].block!r} froze"
            raise InputError(message(WHERE, "a state as of now or later", got, "", "Build a new FreezeTraining for it"))
        self.n_steps = state["n_steps"]
        self.events = tuple(FreezeEvent(*event) for event in state["events"])
        self._plan.load_state_dict(state["plan"])
        self._clock.load_state_dict(state["clock"])
        while len(self._frozen) < len(self.events):
            self._freeze_next()

    def _freeze_next(self) -> None:
        self._frozen.append(FrozenBlock(self._model, self.blocks[len(self._frozen)], self._optimizers))

    def _keep_example(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._example = (args, keywords)
        self._watching.remove()

    def _flops_per_step(self, n_frozen: int) -> float:
        """Return the operations of a step on a batch like the first; NaN before the model was called."""
        if self._example is None:
            return float("nan")
        if n_frozen not in self._flops:
            frozen = [name for block in self.blocks[:n_frozen] for name in block.parameters]
            learning = [parameter for block in self._frozen for parameter in block.learned]
            self._flops[n_frozen] = training_flops(self._model, self._example, frozen, learning)
        return self._flops[n_frozen]
