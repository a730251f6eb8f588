"""The chunked head against the whole logits: values, gradients, memory."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sea_runtime.trainer import head

TOKENS, HIDDEN, VOCABULARY, PADDED = 50, 24, 509, 512


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, weight with padded rows, labels of which every seventh is absent."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(PADDED, HIDDEN, generator=generator).to(dtype).requires_grad_()
    labels = torch.randint(0, VOCABULARY, (TOKENS,), generator=generator)
    labels[::7] = -1
    return hidden, weight, labels


def both(*arguments: Any) -> tuple[Tensor, Tensor]:
    """log p and entropy, [T] each."""
    found = head.token_values(*arguments, entropy=True)
    return found[0], found[1]


def logprobs(*arguments: Any) -> Tensor:
    return head.token_values(*arguments, entropy=False)[0]


def formula(
    hidden: Tensor, weight: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Through the logits of the whole row."""
    logp = ((hidden @ weight.T)[:, :VOCABULARY].float() / temperature).log_softmax(dim=1)
    picked = logp.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    entropy = -(logp.exp() * logp).sum(dim=1)
    return picked.masked_fill(labels < 0, 0.0), entropy.masked_fill(labels < 0, 0.0)


def loss(logp: Tensor, entropy: Tensor, entropy_weight: float) -> Tensor:
    weights = torch.linspace(-1.0, 2.0, TOKENS)
    return (weights * logp).sum() + entropy_weight * (weights.flip(0) * entropy).sum()


@pytest.fixture(params=["kept", "recomputed"])
def several_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of eight rows, whose exponentials are kept or computed again."""
    monkeypatch.setattr(head, "MIN_CHUNK_ROWS", 8)
    monkeypatch.setitem(head.CHUNK_BYTES, "cpu", 1)
    if request.param == "recomputed":
        monkeypatch.setattr(head, "KEPT_BYTES", 0)


@pytest.mark.usefixtures("several_chunks")
@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
def test_values_and_gradients_are_those_of_the_whole_logits(
    temperature: float, entropy_weight: float
) -> None:
    given = inputs()
    wanted = formula(*given, temperature)
    got = both(*given, temperature, None, VOCABULARY)
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=1e-6)
    variables = given[:2]
    got_gradients = torch.autograd.grad(loss(*got, entropy_weight), variables)
    wanted_gradients = torch.autograd.grad(loss(*wanted, entropy_weight), variables)
    for ours, theirs in zip(got_gradients, wanted_gradients, strict=True):
        # Relative to the largest entry: one that is nearly 0 is the difference of large terms.
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-6


def test_without_entropy_the_log_probabilities_are_the_same() -> None:
    given = inputs()
    logp, _ = both(*given, 0.7, None, VOCABULARY)
    alone = logprobs(*given, 0.7, None, VOCABULARY)
    assert torch.equal(alone, logp)
    with torch.no_grad():
        assert torch.equal(logprobs(*given, 0.7, None, VOCABULARY), logp)


def test_a_row_without_a_label_has_neither_value_nor_gradient() -> None:
    hidden, weight, labels = inputs()
    logp, entropy = both(hidden, weight, labels, 1.0, None, VOCABULARY)
    (logp.sum() + entropy.sum()).backward()
    assert hidden.grad is not None
    for values in (logp, entropy, hidden.grad):
        assert not values[::7].any()
        assert values[1::7].any()


def test_a_row_that_nobody_reads_still_has_gradients_of_zero() -> None:
    """Every rank goes through the backward pass, a collective, even with nothing to train."""
    hidden, weight, labels = inputs()
    logprobs(hidden, weight, torch.full_like(labels, -1), 1.0, None, VOCABULARY).sum().backward()
    for one in (hidden, weight):
        assert one.grad is not None
        assert not one.grad.any()


def test_padded_rows_of_the_weight_get_no_gradient() -> None:
    hidden, weight, labels = inputs()
    logprobs(hidden, weight, labels, 1.0, None, VOCABULARY).sum().backward()
    assert weight.grad is not None
    assert not weight.grad[VOCABULARY:].any()
    assert weight.grad[:VOCABULARY].any()


def test_large_logits_overflow_nowhere() -> None:
    hidden, weight, labels = (x.detach() for x in inputs())
    logp, entropy = both(1000 * hidden, weight, labels, 1.0, None, VOCABULARY)
    assert bool(logp.isfinite().all())
    assert bool(entropy.isfinite().all())


class ThreadGroup:
    """A process group whose ranks are threads; `all_reduce` replaces that of torch."""

    def __init__(self, size: int) -> None:
        self._size, self._local = size, threading.local()
        self._barrier, self._values = threading.Barrier(size, timeout=60), [torch.zeros(0)] * size

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        found: list[Any] = [None] * self._size

        def rank(number: int) -> None:
            self._local.rank = number
            found[number] = work(number)

        threads = [threading.Thread(target=rank, args=(i,)) for i in range(self._size)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return found

    def rank(self) -> int:
        return int(self._local.rank)

    def size(self) -> int:
        return self._size

    def all_reduce(self, values: Tensor, operation: Any, group: "ThreadGroup") -> None:
        self._values[self.rank()] = values.clone()
        self._barrier.wait()
        whole = torch.stack(self._values)
        values.copy_(whole.amax(0) if operation == dist.ReduceOp.MAX else whole.sum(0))
        self._barrier.wait()


@pytest.mark.usefixtures("several_chunks")
@pytest.mark.parametrize(("ranks", "padded"), [(2, PADDED), (4, PADDED), (2, 2 * PADDED)])
def test_a_divided_vocabulary_gives_the_same(
    ranks: int, padded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last case the second rank has padding only."""
    hidden, weight, labels = inputs()
    weight = torch.cat([weight.detach(), torch.ones(padded - PADDED, HIDDEN)]).requires_grad_()
    wanted = formula(hidden, weight, labels, 0.7)
    gradients = torch.autograd.grad(loss(*wanted, 0.3), (hidden, weight))
    group = ThreadGroup(ranks)
    monkeypatch.setattr(dist, "all_reduce", group.all_reduce)

    def of_rank(rank: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        own = weight.detach().chunk(ranks)[rank].clone().requires_grad_()
        whole = hidden.detach().clone().requires_grad_()
        got = both(whole, own, labels, 0.7, group, VOCABULARY)
        return got, torch.autograd.grad(loss(*got, 0.3), (whole, own))

    found = group.run(of_rank)
    for values, _ in found:
        for ours, theirs in zip(values, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=1e-6)
    # That of the hidden states is a rank's part of a sum; the weight's is its rows.
    summed = torch.stack([parts[0] for _, parts in found]).sum(0)
    joined = torch.cat([parts[1] for _, parts in found])
    for ours, theirs in zip((summed, joined), gradients, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-6


class LiveBytes(TorchDispatchMode):
    """Bytes of the tensors that operations made and that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {x.untyped_storage()._cdata for x in _tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for one in _tensors(out):
            storage = one.untyped_storage()
            if storage._cdata not in given | self._seen:
                self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        self._seen.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, storage._cdata, storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def peak_of(tokens: int, width: int, rows: int, run: Callable[..., Tensor]) -> float:
    """Peak of forward and backward pass, in units of one bf16 [tokens, rows].

    On torch's device `meta`: every tensor is allocated in its size, none is computed.
    """
    hidden, weight = (
        torch.empty(side, width, dtype=torch.bfloat16, device="meta", requires_grad=True)
        for side in (tokens, rows)
    )
    labels = torch.empty(tokens, dtype=torch.int64, device="meta")
    with LiveBytes() as seen:
        run(hidden, weight, labels).sum().backward()
    return seen.peak / (2 * tokens * rows)


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("ways", [1, 4])
def test_the_peak_is_below_one_bf16_matrix_of_the_logits(ways: int, entropy: bool) -> None:
    """A row of 32,768 tokens of Qwen3-235B-A22B, all with a label."""
    vocabulary = 151_936 // ways

    def ours(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        part = head._Part.of(vocabulary, vocabulary, None)
        options = head._Options.of(part, len(labels), "cuda", 0.7, entropy)
        return torch.stack(head._Logprobs.apply(hidden, weight, labels, part, options))

    assert peak_of(32_768, 4096, vocabulary, ours) < 1.3


def test_the_whole_logits_would_take_several_times_as_much() -> None:
    """The measure of the test above can fail."""

    def whole(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        return ((hidden @ weight.T).float() / 0.7).log_softmax(dim=1).gather(1, labels[:, None])

    assert peak_of(32_768, 4096, 151_936, whole) > 4
