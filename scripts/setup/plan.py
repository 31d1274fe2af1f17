"""What is left to do for a wish, and what this machine says to it. Decides, and changes nothing.

Leaves to others: doing it (`command`, `stages`) and showing it (`screen`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.setup import go_tools, machine, python_env
from scripts.setup.machine import Finding
from scripts.setup.pins import Clone, GoTool
from scripts.setup.stages import Stage


@dataclass(frozen=True)
class Plan:
    """The stages whose result does not stand: the installer first, then Python beside Go."""

    installer: tuple[Stage, ...] = ()
    python: tuple[Stage, ...] = ()
    go: tuple[Stage, ...] = ()

    def lanes(self) -> list[tuple[Stage, ...]]:
        """Return what may run side by side, once the installer is there."""
        return [lane for lane in (self.python, self.go) if lane]

    def stages(self) -> tuple[Stage, ...]:
        """Return everything, in the order that one worker would follow."""
        return (*self.installer, *self.python, *self.go)


def make_plan(
    clone: Clone,
    tools: Sequence[GoTool],
    environment: Mapping[str, str],
    *,
    with_train: bool,
    with_fuzz: bool = False,
) -> Plan:
    """Find out what is left to do. Programs are asked for their version only where something is left."""
    wanted = [python_env.python_stage(clone)]
    if with_train:
        wanted.append(python_env.torch_stage(clone))
    if with_fuzz and python_env.can_fuzz():
        wanted.append(python_env.fuzz_stage(clone))
    python = _left(wanted)
    own = {tool.name: path for tool in tools if (path := go_tools.own_binary(tool, environment))}
    adopting = _left(go_tools.adopt_stage(clone, tool, own[tool.name]) for tool in tools if tool.name in own)
    building = _left(go_tools.build_stage(clone, tool) for tool in tools if tool.name not in own)
    compiler: tuple[Stage, ...] = ()
    if building and go_tools.system_go(go_tools.minimum_go(clone.go_tools)) is None:
        compiler = _left([go_tools.go_stage(clone)])
    installer: tuple[Stage, ...] = ()
    if (python or compiler) and python_env.system_uv() is None:
        installer = _left([python_env.uv_stage(clone)])
    return Plan(installer, python, (*compiler, *adopting, *building))


def look_around(clone: Clone, plan: Plan) -> list[Finding]:
    """Check this machine against what the plan needs of it."""
    minimum = go_tools.minimum_go(clone.go_tools)
    needs = [(clone.root, stage.cost.disk) for stage in plan.stages()]
    caches = clone.toolchain if go_tools.system_go(minimum) is None else Path.home()
    needs += [(caches, stage.cost.cache) for stage in plan.go]
    findings = [
        machine.check_system(),
        machine.check_disk(needs or [(clone.root, 0)]),
        machine.check_python(python_env.system_uv()),
        machine.check_compiler(),
        machine.check_git(),
    ]
    if plan.go:
        findings.append(machine.check_go(go_tools.system_go(minimum), minimum))
    return findings


def judge_named_binaries(tools: Sequence[GoTool], environment: Mapping[str, str]) -> list[Finding]:
    """Check the binaries that the user names by COMETBFT_BIN and IPFS_BIN."""
    findings = (go_tools.check_own_binary(tool, environment) for tool in tools)
    return [finding for finding in findings if finding is not None]


def _left(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    return tuple(stage for stage in stages if not stage.stamp.stands())
