"""Which memory the next weight version is brought into, and what becomes of the old."""

import torch

from sea_runtime.parallel.regions import Run
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies
from sea_runtime.transport.read_plan import ShardRead

READ = ShardRead(0, (Run(0, 0, 64),), (), ())


def test_a_buffer_whose_read_hung_is_released_once_the_read_has_ended() -> None:
    """Not before: it could still be written to. Registered memory is freed in no other way."""
    hung: set[int] = set()
    released: list[torch.Tensor] = []
    copies = HostCopies(lambda buffer: buffer.data_ptr() in hung, released.append)
    first = copies.target(READ)
    hung.add(first.data_ptr())
    second = copies.target(READ)
    assert second is not first
    assert (copies.target(READ) is second, released) == (True, [])
    hung.clear()
    assert copies.target(READ) is second
    assert [buffer.data_ptr() for buffer in released] == [first.data_ptr()]
