"""Only the warnings about layers that have nothing to load are dropped."""

import logging

import pytest
import torch

from sea_runtime.rollout.vllm_plugin import reload_warnings


class Rotary(torch.nn.Module):
    """Has a table, and no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(4))


class Head(torch.nn.Linear):
    pass


def model(*, tied: bool) -> torch.nn.Module:
    embedding, head = torch.nn.Embedding(8, 4), Head(4, 8, bias=False)
    if tied:
        head.weight = embedding.weight
    return torch.nn.ModuleList([embedding, Rotary(), torch.nn.Linear(4, 4), head])


@pytest.mark.parametrize(
    ("tied", "names"),
    [(True, {"ModuleList", "Rotary", "Head"}), (False, {"ModuleList", "Rotary"})],
)
def test_classes_that_have_nothing_to_load(tied: bool, names: set[str]) -> None:
    assert reload_warnings.classes_without_weights(model(tied=tied)) == names


def test_the_warning_about_a_layer_that_was_not_loaded_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger(reload_warnings.LOGGER)
    names = frozenset({"Rotary"})
    with caplog.at_level(logging.WARNING, reload_warnings.LOGGER):
        with reload_warnings.dropped(names):
            logger.warning(reload_warnings.MESSAGE, "Rotary")
            logger.warning(reload_warnings.MESSAGE, "Linear")
            logger.warning("another sentence")
        logger.warning(reload_warnings.MESSAGE, "Rotary")
    assert caplog.messages == [
        "Linear: Failed to load weights",
        "another sentence",
        "Rotary: Failed to load weights",
    ]
