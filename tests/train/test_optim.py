"""Optimizers by name, what decays, and the learning rate of every step against its definition."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from augforge.errors import TrainError
from augforge.train.config import OptimizerConfig, ScheduleConfig
from augforge.train.net.optim import Schedule, build_optimizer, rate


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)).square().mean().backward()
        optimizer.step()
        schedule.step()


def rates(config: ScheduleConfig, steps: int, scores: dict[int, float] | None = None) -> list[float]:
    """The learning rate that each step is taken with, of a highest of 0.1; scores come after a step."""
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    schedule = Schedule(optimizer, config, steps)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        if scores and step in scores:
            schedule.record_score(scores[step])
    return found


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_plain_optimizers_are_torchs(name: str, kind: type[torch.optim.Optimizer]) -> None:
    optimizer = build_optimizer(small_net(), OptimizerConfig(name=name, lr=0.25, momentum=0.75))
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}
    if name == "sgd":
        assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.75, False)


def test_sgd_takes_no_momentum() -> None:
    assert build_optimizer(small_net(), OptimizerConfig(name="sgd", momentum=0)).defaults["momentum"] == 0


@pytest.mark.parametrize("name", ["adamp", "lion", "lookahead_adamp", "nadamw", "lamb"])
def test_optimizers_of_timm_lower_a_loss(name: str) -> None:
    net = small_net()
    before = net(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)).square().mean().item()
    optimizer = build_optimizer(net, OptimizerConfig(name=name, lr=0.01))
    train(net, optimizer, Schedule(optimizer, ScheduleConfig(name="constant", warmup=0), 20), 20)
    assert net(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)).square().mean().item() < before


@pytest.mark.parametrize(
    ("name", "hint"), [("adamwx", "adamw"), ("lookahead_adampp", "adamp"), ("fusedadam", "adam"), ("bnbadam", "adam")]
)
def test_unknown_optimizers_are_refused_with_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(
        TrainError, match=rf"optimizer.name: no optimizer is called '{name}'. Did you mean '\w*{hint}\w*'"
    ):
        build_optimizer(small_net(), OptimizerConfig(name=name))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adamp", "lookahead_adamw"])
def test_weights_decay_and_biases_and_norms_do_not(name: str) -> None:
    net = small_net()
    groups = build_optimizer(net, OptimizerConfig(name=name, weight_decay=0.3)).param_groups
    decayed = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {key: decayed[id(p)] for key, p in net.named_parameters()} == {
        "0.weight": 0.3, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "2.weight": 0.3, "2.bias": 0.0
    }  # fmt: skip


def test_cosine_climbs_from_zero_and_ends_at_its_share() -> None:
    found = rates(ScheduleConfig(name="cosine", warmup=0.2, final=0.01), 50)
    assert found[:10] == pytest.approx([0.1 * (k + 1) / 11 for k in range(10)])
    assert found[10] == pytest.approx(0.1)
    assert found[-1] == pytest.approx(0.001)
    half_way = [0.001 + 0.099 * (1 + math.cos(math.pi * k / 39)) / 2 for k in range(40)]
    assert found[10:] == pytest.approx(half_way)


def test_step_falls_after_each_share_of_the_run() -> None:
    found = rates(ScheduleConfig(name="step", warmup=0, every=0.3, factor=0.5), 100)
    assert found == pytest.approx([0.1] * 30 + [0.05] * 30 + [0.025] * 30 + [0.0125] * 10)
    found = rates(ScheduleConfig(name="step", warmup=0, every=0.1, factor=0.5), 10)
    assert found == pytest.approx([0.1 * 0.5**k for k in range(10)])


@pytest.mark.parametrize("name", ["step", "plateau", "constant"])
def test_warm_up_stands_in_front_of_any(name: str) -> None:
    found = rates(ScheduleConfig(name=name, warmup=0.5, every=0.9), 8)
    assert found == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.1])


def test_plateau_falls_after_patience_validations_without_a_better_score() -> None:
    scores = {0: 0.5, 1: 0.6, 2: 0.6, 3: 0.4, 4: 0.7, 5: math.nan, 6: 0.7, 7: 0.1, 8: 0.1}
    found = rates(ScheduleConfig(name="plateau", warmup=0, patience=2, factor=0.5), 10, scores)
    assert found == pytest.approx([0.1] * 4 + [0.05] * 3 + [0.025] * 2 + [0.0125])


def test_only_plateau_heeds_scores() -> None:
    config = ScheduleConfig(name="cosine", patience=1)
    assert rates(config, 6, dict.fromkeys(range(6), 0.5)) == rates(config, 6)


@pytest.mark.parametrize("total", [1, 2])
@pytest.mark.parametrize("name", ["cosine", "step", "plateau", "constant"])
def test_shortest_runs_have_a_rate(name: str, total: int) -> None:
    assert all(0 < rate(ScheduleConfig(name=name), step, total) <= 1 for step in range(total + 1))


def test_a_schedule_made_after_the_optimizer_was_restored_knows_the_highest_rate() -> None:
    config = ScheduleConfig(name="cosine", warmup=0)
    before, after = (torch.optim.SGD(small_net().parameters(), lr=0.1) for _ in range(2))
    schedule = Schedule(before, config, 10)
    for _ in range(5):
        schedule.step()
    after.load_state_dict(before.state_dict())
    restored = Schedule(after, config, 10)
    restored.load_state_dict(schedule.state_dict())
    assert after.param_groups[0]["lr"] == before.param_groups[0]["lr"] < 0.1


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adamp", "lookahead_adamw", "lion"])
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_resumed_run_goes_on_exactly(optimizer: str, schedule: str) -> None:
    nets = []
    for stop in (False, True):
        net = small_net()
        made = build_optimizer(net, OptimizerConfig(name=optimizer))
        plan = Schedule(made, ScheduleConfig(name=schedule, patience=1), 12)
        train(net, made, plan, 7)
        plan.record_score(0.5)
        plan.record_score(0.4)
        if stop:
            states = copy.deepcopy([net.state_dict(), made.state_dict(), plan.state_dict()])
            net = small_net()
            made = build_optimizer(net, OptimizerConfig(name=optimizer))
            plan = Schedule(made, ScheduleConfig(name=schedule, patience=1), 12)
            parts: tuple[Any, ...] = (net, made, plan)
            for part, state in zip(parts, states, strict=True):
                part.load_state_dict(state)
        train(net, made, plan, 5)
        plan.record_score(0.4)
        nets.append((net, made.param_groups[0]["lr"], plan.state_dict()))
    (whole, *rest), (resumed, *rest_resumed) = nets
    assert rest == rest_resumed
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
