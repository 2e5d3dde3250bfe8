"""The bookkeeping of a tree of drafts, held against sets of token chains that know nothing of nodes."""

import random
from itertools import product

import pytest

from executor.draft.tree import NOBODY, Child, Tree

Chain = tuple[int, ...]


class Chains:
    """What a tree must be: for every level in flight, all chains that were drafted, with the score of each.

    A chain begins with the first token of the text. Nothing is ever cut off: what is consistent is looked up.
    """

    def __init__(self, width: int, token: int) -> None:
        self.width = width
        self.verified: Chain = (token,)
        self.levels: list[dict[Chain, float]] = []

    def consistent(self) -> list[set[Chain]]:
        return [{chain for chain in level if chain[: len(self.verified)] == self.verified} for level in self.levels]

    def newest(self) -> dict[Chain, float]:
        """The chains that may be drafted on."""
        if not self.levels:
            return {self.verified: 0.0}
        consistent = self.consistent()[-1]
        return {chain: score for chain, score in self.levels[-1].items() if chain in consistent}

    def grow(self, after: dict[Chain, list[Child]]) -> None:
        longer = {
            (*chain, token): score + log_p for chain, score in self.newest().items() for log_p, token in after[chain]
        }
        best = sorted(longer, key=lambda chain: (-longer[chain], chain[-1]))[: self.width]
        self.levels.append({chain: longer[chain] for chain in best})

    def verify(self, token: int) -> bool:
        """Let the target choose a token; return whether a chain has it. If none has, all are flushed."""
        self.verified = (*self.verified, token)
        is_accepted = bool(self.consistent()[0])
        self.levels = self.levels[1:] if is_accepted else []
        return is_accepted


def chains_of(tree: Tree, verified: Chain) -> list[list[Chain]]:
    """Return the chain of every node of every level, the verified one first, whether or not it is alive."""
    (right,), wrong = tree.alive[0], (*verified[:-1], -1)
    found: list[list[Chain]] = [[verified if node == right else wrong for node in range(len(tree.levels[0].tokens))]]
    for level in tree.levels[1:]:
        nodes = zip(level.tokens, level.parents, strict=True)
        found.append([() if parent == NOBODY else (*found[-1][parent], token) for token, parent in nodes])
    return found


def living(tree: Tree, verified: Chain) -> list[set[Chain]]:
    levels = list(zip(chains_of(tree, verified), tree.alive, strict=True))
    return [{chains[node] for node in nodes} for chains, nodes in levels[1:]]


def candidates(rng: random.Random, num_tokens: int) -> list[Child]:
    """Return some tokens in the order of their probabilities, which are coarse, so that many are equal."""
    tokens = rng.sample(range(num_tokens), rng.randint(1, num_tokens))
    return sorted(((-float(rng.randint(1, 3)), token) for token in tokens), key=lambda child: (-child[0], child[1]))


@pytest.mark.parametrize(("width", "depth"), [*product((1, 2, 3, 4), (1, 2, 3))])
def test_what_is_alive_are_the_chains_that_begin_with_the_verified_text(width: int, depth: int) -> None:
    """For every text of four tokens out of three that the target may choose, with `depth` levels in flight."""
    num_tokens, seen = 3, {True: 0, False: 0}
    for text in product(range(num_tokens), repeat=4):
        rng = random.Random(str((width, depth, text)))
        tree, chains = Tree(width), Chains(width, 0)
        tree.begin(0)
        for token in text:
            while len(chains.levels) < depth:
                of_nodes = [candidates(rng, num_tokens) for _ in range(width)]
                after = dict(zip(chains_of(tree, chains.verified)[-1], of_nodes, strict=True))
                chains.grow({chain: after[chain] for chain in chains.newest()})
                tree.grow(of_nodes)
                assert living(tree, chains.verified) == chains.consistent()
            right = [node for node in tree.alive[1] if tree.levels[1].tokens[node] == token]
            is_accepted = chains.verify(token)
            assert len(right) == is_accepted
            if is_accepted:
                tree.keep(right[0])
            else:
                tree.begin(token)
            seen[is_accepted] += 1
            assert tree.alive[0] == ((right[0],) if is_accepted else (0,))
            assert living(tree, chains.verified) == chains.consistent()
    assert seen[True] and seen[False]


def test_the_likeliest_chains_are_drafted_and_not_the_likeliest_tokens() -> None:
    """A probable token after an improbable one is beaten by two children of a probable one."""
    tree = Tree(2)
    tree.begin(9)
    assert tree.grow([[(-0.1, 4), (-3.0, 5)], []]).tokens == (4, 5)
    level = tree.grow([[(-1.0, 6), (-1.5, 7)], [(-0.01, 8), (-5.0, 6)]])
    assert (level.tokens, level.parents) == ((6, 7), (0, 0))


def test_of_equals_the_lowest_token_is_drafted_and_then_that_of_the_lowest_parent() -> None:
    tree = Tree(3)
    tree.begin(0)
    tree.grow([[(-1.0, 5), (-1.0, 3), (-1.0, 4)], [], []])
    assert tree.levels[1].tokens == (3, 4, 5)
    level = tree.grow([[(-1.0, 7)], [(-1.0, 7), (-1.0, 6)], [(-1.0, 6)]])
    assert (level.tokens, level.parents) == ((6, 6, 7), (1, 2, 0))


def test_a_level_that_pruning_has_thinned_is_followed_by_a_full_one() -> None:
    """What survives has all the room of the next level."""
    tree = Tree(3)
    tree.begin(0)
    tree.grow([[(-1.0, 1), (-1.1, 2), (-1.2, 3)]])
    tree.grow([[(-1.0, 1)], [(-1.0, 1)], [(-1.0, 1)]])
    tree.keep(1)
    assert tree.alive == ((1,), (1,))
    level = tree.grow([[(-1.0, 1)], [(-1.0, 4), (-1.0, 5), (-1.0, 6), (-1.0, 7)], [(-1.0, 1)]])
    assert (level.tokens, level.parents) == ((4, 5, 6), (1, 1, 1))


def test_where_the_right_chain_was_dropped_nothing_is_drafted_on() -> None:
    """Both nodes of the second level follow the first one; when the other is right, whatever follows is wrong."""
    tree = Tree(2)
    tree.begin(0)
    tree.grow([[(-0.1, 1), (-2.0, 2)]])
    tree.grow([[(-0.5, 3), (-0.9, 4)], [(-0.1, 5)]])
    tree.keep(1)
    level = tree.grow([[(-0.1, 6)], [(-0.1, 6)]])
    assert level.parents == (NOBODY, NOBODY)
    assert tree.alive == ((1,), (), ())


def test_a_tree_of_width_one_is_a_chain() -> None:
    tree = Tree(1)
    tree.begin(7)
    for token in (3, 1, 2):
        assert tree.grow([[(-1.0, token), (-2.0, 9)]]).tokens == (token,)
    tree.keep(0)
    assert [level.tokens for level in tree.levels] == [(3,), (1,), (2,)]
    assert tree.alive == ((0,), (0,), (0,))
