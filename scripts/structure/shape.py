"""Adds up what ``sources`` read: packages and rooms with their sizes, arrows, circles, and what is large."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from scripts.structure.arrows import ARROWS, OURS
from scripts.structure.circles import circles
from scripts.structure.sources import Import, Module

LARGE: Final = 300
"""Lines of a module; more is worth a look."""


@dataclass(frozen=True)
class Room:
    """A folder of a package: modules, lines."""

    name: str
    modules: int
    lines: int


@dataclass(frozen=True)
class Package:
    """A folder at the root, or a module that stands there alone."""

    name: str
    modules: int
    lines: int
    rooms: tuple[Room, ...]


@dataclass(frozen=True)
class Arrow:
    """How often one package imports another: statements, and how many of them are lazy."""

    source: str
    target: str
    statements: int
    lazy: int


@dataclass(frozen=True)
class Circle:
    """Names that import each other in the end, and the statements among them that make it so."""

    names: tuple[str, ...]
    imports: tuple[Import, ...]


class Shape:
    """The structure of a list of modules."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules = list(modules)
        self._by_name = {module.name: module for module in self.modules}
        self._imports = [each for module in self.modules for each in module.imports]

    @property
    def lines(self) -> int:
        """Of all modules together."""
        return sum(module.lines for module in self.modules)

    def packages(self) -> list[Package]:
        """The packages in the order of the table of arrows, which is from the bottom up."""
        found = []
        for name in OURS:
            modules = [module for module in self.modules if module.package == name]
            rooms: dict[str, list[int]] = defaultdict(list)
            for module in modules:
                if module.room:
                    rooms[module.room].append(module.lines)
            if modules:
                listed = tuple(Room(room, len(lines), sum(lines)) for room, lines in sorted(rooms.items()))
                found.append(Package(name, len(modules), sum(module.lines for module in modules), listed))
        return found

    def arrows(self) -> list[Arrow]:
        """The arrows between packages."""
        every: Counter[tuple[str, str]] = Counter()
        lazy: Counter[tuple[str, str]] = Counter()
        statements = {
            (each.source, each.line, self._package(each.target)): each
            for each in self._imports
            if self._package(each.source) != self._package(each.target)
        }
        for (source, _, target), each in statements.items():
            every[self._package(source), target] += 1
            lazy[self._package(source), target] += each.lazy
        ordered = sorted(every, key=lambda pair: (OURS.index(pair[0]), OURS.index(pair[1])))
        return [Arrow(*pair, every[pair], lazy[pair]) for pair in ordered]

    def forbidden(self) -> list[Arrow]:
        """The arrows that the table does not allow."""
        return [each for each in self.arrows() if each.source in ARROWS and each.target not in ARROWS[each.source]]

    def unused(self) -> list[tuple[str, str]]:
        """The arrows that the table allows and nobody draws, among packages that there are."""
        there = {package.name for package in self.packages()}
        drawn = {(each.source, each.target) for each in self.arrows()}
        allowed = [(source, target) for source, targets in ARROWS.items() for target in targets]
        return [pair for pair in allowed if pair not in drawn and there.issuperset(pair)]

    def package_circles(self) -> list[Circle]:
        """Circles among packages, by all imports."""
        return self._circles(self._package, self._imports)

    def room_circles(self) -> list[Circle]:
        """Circles among the rooms of a package, by all imports; a module that stands in no room is one of its own."""
        inside = [each for each in self._imports if self._package(each.source) == self._package(each.target)]
        return self._circles(self._room, inside)

    def loading_circles(self) -> list[Circle]:
        """Circles among modules, by the imports that run when they are loaded."""
        return self._circles(str, [each for each in self._imports if not each.lazy])

    def module_circles(self) -> list[Circle]:
        """Circles among modules, by all imports."""
        return self._circles(str, self._imports)

    def large(self) -> list[Module]:
        """Modules of more than LARGE lines, the largest first."""
        over = [module for module in self.modules if module.lines > LARGE]
        return sorted(over, key=lambda module: (-module.lines, module.path))

    def top_level(self, package: str) -> list[str]:
        """What stands directly in a package: its rooms and its own modules, without ``__init__``."""
        modules = [module for module in self.modules if module.package == package]
        return sorted({module.name.split(".")[1] for module in modules if module.name != package})

    def _package(self, name: str) -> str:
        return name.split(".", maxsplit=1)[0]

    def _room(self, name: str) -> str:
        room = self._by_name[name].room
        return f"{self._package(name)}/{room}" if room else name

    def _circles(self, group: Callable[[str], str], among: list[Import]) -> list[Circle]:
        graph: dict[str, set[str]] = defaultdict(set)
        for each in among:
            if group(each.source) != group(each.target):
                graph[group(each.source)].add(group(each.target))
        found = []
        for names in circles(graph):
            inside = [
                each
                for each in among
                if group(each.source) in names
                and group(each.target) in names
                and group(each.source) != group(each.target)
            ]
            found.append(Circle(names, tuple(inside)))
        return found
