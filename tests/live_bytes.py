"""How much memory tensors take."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):
    """Peak bytes of the tensors that torch operations make and that are alive at one time."""

    def __init__(self):
        super().__init__()
        self.made, self.total, self.peak = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                self.total += storage.nbytes()
        if self.total > self.peak:  # what has gone is struck off only where it could matter
            self.made = {key: entry for key, entry in self.made.items() if not entry[0].expired()}
            self.total = sum(size for _, size in self.made.values())
            self.peak = max(self.peak, self.total)
        return result
