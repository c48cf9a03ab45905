"""When blocks freeze: at steps that are fixed beforehand, or once a block no longer changes what it represents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch import nn

from svcca.errors import InputError, LayerError, closest, message, unknown_option
from svcca.freeze.blocks import Block
from svcca.freeze.convergence import AdaptiveFreezing, Convergence, When, step_of
from svcca.freeze.cost import Clock

if TYPE_CHECKING:  # torch can be built without it
    from torch.distributed import ProcessGroup

Schedule = Literal["linear"] | Mapping[str, When] | Sequence[When] | AdaptiveFreezing
"""Times to freeze at, as a user passes them; `FreezeTraining` says what each form means."""

WHERE = "freezing schedule"


class Plan(Protocol):
    """Decide when the lowest block that still learns freezes."""

    def watch(self, step: int, n_frozen: int) -> None:
        """Observe the network after this step."""

    def reason(self, step: int, n_frozen: int) -> str | None:
        """Return why the next block freezes after this step, or None if it does not."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state that `state_dict` returned."""


@dataclass(frozen=True)
class FixedTimes:
    """Freeze block i after the i-th of these steps; blocks beyond their number never freeze."""

    times: tuple[int, ...]
    origin: str

    def watch(self, step: int, n_frozen: int) -> None:
        """Do nothing: the times are fixed."""

    def reason(self, step: int, n_frozen: int) -> str | None:
        """Return why the next block freezes after this step, or None if it does not."""
        return self.origin if n_frozen < len(self.times) and step >= self.times[n_frozen] else None

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the times are fixed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load nothing: the times are fixed."""


def plan_of(
    schedule: Schedule,
    model: nn.Module,
    blocks: Sequence[Block],
    total_steps: int,
    clock: Clock,
    *,
    all_in_blocks: bool,
    group: ProcessGroup | None,
) -> Plan:
    """Turn a schedule into a plan.

    Args:
        schedule: Schedule as the user passed it.
        model: Network, without wrappers.
        blocks: Its blocks, from the input on.
        total_steps: Number of steps in the whole training run.
        clock: Clock that counts what observing the network costs.
        all_in_blocks: Whether the blocks hold all that learns, so that the last of them must not freeze.
        group: Processes that train together, and must decide alike.

    Raises:
        InputError: If the schedule freezes nothing or everything, or its times are out of order or range.
        LayerError: If it names a block that does not exist.
        UnknownOptionError: If it is none of the known forms.
    """
    if isinstance(schedule, AdaptiveFreezing):
        n_freezable = len(blocks) - 1 if all_in_blocks else len(blocks)
        if n_freezable == 0:
            raise _never("one block, which is all that learns")
        return Convergence(model, blocks[:n_freezable], schedule, total_steps, clock, group)
    if isinstance(schedule, str):
        if schedule != "linear":
            raise unknown_option(WHERE, "a name", schedule, ["linear", "a list or dict of times", "AdaptiveFreezing"])
        times = [round(number * total_steps / len(blocks)) for number in range(1, len(blocks) + 1)]
        origin = "linear schedule"
    else:
        times = _given_times(schedule, blocks, total_steps)
        origin = "given time"
    within = tuple(time for time in times if time < total_steps)  # what freezes at the end saves nothing
    if not within:
        raise _never(f"times {', '.join(map(str, times))} of {total_steps} steps")
    if len(within) == len(blocks) and all_in_blocks:
        got = f"all {len(blocks)} blocks frozen at step {within[-1]} of {total_steps}"
        raise InputError(message(WHERE, "something that learns to the end", got, "", "Leave the last block out"))
    return FixedTimes(within, origin)


def _never(got: str) -> InputError:
    return InputError(message(WHERE, "at least one block to freeze before the end", got, "It never freezes anything"))


def _given_times(schedule: object, blocks: Sequence[Block], total_steps: int) -> list[int]:
    names = [block.name for block in blocks]
    if isinstance(schedule, Mapping):
        unknown = [str(name) for name in schedule if name not in names]
        if unknown:
            near = closest(unknown[0], names) or names[:8]
            raise LayerError(message(WHERE, "names of blocks", repr(unknown[0]), "", f"There are: {', '.join(near)}"))
        chosen = [name for name in names if name in schedule]
        if chosen != names[: len(chosen)]:
            skipped = next(name for name in names if name not in schedule)
            got = f"{chosen[-1]!r} without {skipped!r}"
            cause = "Backward passes would still run through the frozen block"
            raise InputError(message(WHERE, "blocks in order from the input, none left out", got, cause))
        values = [schedule[name] for name in chosen]
    elif isinstance(schedule, Sequence):
        values = list(schedule)
        if len(values) > len(blocks):
            raise InputError(message(WHERE, f"at most {len(blocks)} times, one a block", str(len(values))))
    else:
        raise unknown_option(WHERE, "a schedule", schedule, ["linear", "a list or dict of times", "AdaptiveFreezing"])
    times = [step_of(value, total_steps, WHERE) for value in values]
    if times != sorted(times):
        got = ", ".join(f"{name} at {time}" for name, time in zip(names, times, strict=False))
        cause = "A frozen block above one that learns saves no backward pass"
        raise InputError(message(WHERE, "times in order from the input on", got, cause))
    return times
