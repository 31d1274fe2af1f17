"""Finds circles in a graph of names: sets in which each reaches each other (Tarjan, SIAM J. Comput. 1(2), 1972)."""

from collections.abc import Collection, Mapping


def circles(graph: Mapping[str, Collection[str]]) -> list[tuple[str, ...]]:
    """The strongly connected sets of two or more, each sorted, in the order of their first names.

    Without recursion: a tree of imports may be deep.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    waiting: list[str] = []
    found = []
    for start in sorted(graph):
        path = [] if start in order else [(start, iter(sorted(graph[start])))]
        while path:
            name, following = path[-1]
            if name not in order:
                order[name] = low[name] = len(order)
                waiting.append(name)
            ahead = next(following, None)
            if ahead is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == order[name]:
                    found.append(_taken(waiting, name))
            elif ahead not in order:
                path.append((ahead, iter(sorted(graph.get(ahead, ())))))
            elif ahead in waiting:
                low[name] = min(low[name], order[ahead])
    return sorted(circle for circle in found if len(circle) > 1)


def _taken(waiting: list[str], first: str) -> tuple[str, ...]:
    place = waiting.index(first)
    circle = tuple(sorted(waiting[place:]))
    del waiting[place:]
    return circle
