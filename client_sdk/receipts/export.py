"""Making receipts: what is asked of a node, the fewest blocks that lead to it, and a check before it is handed out.

The node is not trusted: what it answered is put together and verified from the root of trust as anybody else will.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from contracts import contributions, identity, lineage, models, privacy_budget
from contracts.contributions import Committed
from contracts.kernel import View, crypto, merkle
from contracts.kernel.merkle import ProofInvalid

from ..client import LedgerClient
from ..light import OverlapTooSmall, SignedHeader, TrustedState, ValidatorSet, prove_result, verify_header
from ..reads.refusals import events_of, refusal_of
from ..rpc import AnswerMalformed, RpcClient
from .errors import NoReceipt
from .form import decode, encode
from .parts import Acceptance, Holding, Proof, Receipt, SignedBlock, Way
from .trust import GenesisTrust
from .verify import verify

_Fetched: TypeAlias = tuple[SignedHeader, ValidatorSet]
_NO_PERIOD_NS: Final = 2**80


# What there are receipts for --------------------------------------------------------------------


async def transaction(client: LedgerClient, digest: bytes) -> Receipt:
    """The receipt of an accepted transaction, by the SHA-256 of its bytes; waits for the block after its own.

    Raises NoReceipt, ReceiptError, and what the client raises.
    """
    found = await client.rpc.tx(digest, prove=True)
    if found is None:
        raise NoReceipt(f"no transaction {digest.hex()} was decided here")
    if found.code != 0:
        refusal = refusal_of(found.code, found.data, found.log, client.book)
        raise NoReceipt(f"transaction {digest.hex()} was refused with code {found.code}: {refusal}")
    if found.place is None:
        raise AnswerMalformed("tx.proof", "it is missing")
    results = await client.reader.results(found.height)
    if found.index >= len(results):
        raise AnswerMalformed("tx.index", f"it is {found.index}, the block has {len(results)} results")
    place = prove_result(results, found.index)
    header = (await client.rpc.commit(found.height)).header
    way = Way.of(found.place.total, found.place.index, found.place.aunts)
    proof = Acceptance(found.raw, header, way, results[found.index], place.aunts)
    return await _anchored(client, proof, found.height + 1)


async def contribution(client: LedgerClient, task: str, number: int, organisation: str) -> Receipt:
    """The receipt of the transaction that committed an organisation's contribution to a round.

    Raises as ``transaction``.
    """
    key = (task, number, organisation)
    seat = await client.get(contributions.SEATS, key)
    commitment = None if seat is None else seat.commitment
    if commitment is None:
        raise NoReceipt(f"{organisation} has no contribution in round {number} of {task}")
    block = await client.rpc.block(commitment.place.height)
    results = await client.reader.results(commitment.place.height)
    for raw, result in zip(block.txs, results, strict=False):
        if result.code == 0 and any(_commits(event, key) for event in events_of(result.data, client.book)):
            return await transaction(client, crypto.sha256(raw))
    raise NoReceipt(f"the node does not show the transaction that made it in block {commitment.place.height}")


async def budget(client: LedgerClient, organisation: str, dataset: str = "") -> Receipt:
    """The receipt of a privacy account as it was last written: of a dataset, or of the whole organisation.

    What it holds back for a round is spent or free as that round's record says. An account that nothing was charged to
    has no record. Raises UnknownOrganisation, UnknownDataset; as ``record``.
    """

    def account(view: View) -> bytes:
        identity.require_member(view, organisation)
        if not dataset:
            path = privacy_budget.ORGANISATION_ACCOUNTS.path(organisation)
        else:
            identity.require_dataset(view, organisation, dataset)
            path = privacy_budget.DATASET_ACCOUNTS.path((organisation, dataset))
        view.get(path)
        return path

    return await _held(client, account)


async def version(client: LedgerClient, model: str, number: int) -> Receipt:
    """The receipt of a model version as it was last written: its bytes' digest, parent, findings, score and status.

    Of versions that fall together, the status of the first says so: ``lineage.status_of`` follows the line.

    Raises UnknownVersion; as ``record``.
    """

    def held(view: View) -> bytes:
        models.require_version(view, model, number)
        return lineage.VERSIONS.path((model, number))

    return await _held(client, held)


async def record(client: LedgerClient, path: bytes) -> Receipt:
    """The receipt of what is at a path of the state, as new as a node can prove.

    Raises NoReceipt when nothing is; ReceiptError, and what the client raises.
    """

    def held(view: View) -> bytes:
        view.get(path)
        return path

    return await _held(client, held)


async def _held(client: LedgerClient, found: Callable[[View], bytes]) -> Receipt:
    """The receipt of what is at the path that a function of the ledger reads, with the proof that it was read with."""
    async with client.at() as view:
        path = await view.run(found)
        entry = view.entries[path]
    if entry.body is None:
        raise NoReceipt(f"nothing is recorded at {path.decode('ascii', 'replace')}")
    try:
        leaf, bucket, contract = merkle.Proof.decode(entry.proof).steps
        way = Way.of(leaf.total, leaf.index, leaf.aunts)
    except ProofInvalid as error:
        raise AnswerMalformed("abci_query.proof", str(error)) from error
    proof = Holding(path, entry.body, way, bucket.aunts, contract.aunts)
    return await _anchored(client, proof, entry.height + 1)


def _commits(event: object, key: tuple[str, int, str]) -> bool:
    return isinstance(event, Committed) and (event.task, event.round, event.organisation) == key


# The blocks that lead to it ---------------------------------------------------------------------


async def _anchored(client: LedgerClient, proof: Proof, height: int) -> Receipt:
    """Lead from the root of trust to the block that proves it, and check the whole as its readers will."""
    root = client.reader.headers.root
    await client.reader.headers.at(height)  # Waits for it.
    blocks = [SignedBlock.kept(*each) for each in await _chain(client.rpc, root, height)]
    receipt = Receipt.about(proof, blocks)
    verify(decode(encode(receipt)), GenesisTrust(root), client.book)
    return receipt


async def _chain(rpc: RpcClient, root: TrustedState, height: int) -> list[_Fetched]:
    """Blocks by which skipping verification leads from the root to a height; of those fetched, the fewest."""
    passed: list[_Fetched] = []
    ahead, state = [await _fetch(rpc, height)], root
    while ahead:
        try:
            state = _step(state, ahead[-1])
        except OverlapTooSmall:
            ahead.append(await _fetch(rpc, (state.height + ahead[-1][0].header.height) // 2))
            continue
        passed.append(ahead.pop())
    return _fewest(root, passed)


def _fewest(root: TrustedState, passed: Sequence[_Fetched]) -> list[_Fetched]:
    """Leave out blocks that can be stepped over: bisection goes by the middle, not by where the set changed."""
    kept: list[_Fetched] = []
    state, start = root, 0
    while start < len(passed):
        furthest = next(place for place in reversed(range(start, len(passed))) if _reaches(state, passed[place]))
        state = _step(state, passed[furthest])
        kept.append(passed[furthest])
        start = furthest + 1
    return kept


def _reaches(state: TrustedState, block: _Fetched) -> bool:
    try:
        _step(state, block)
    except OverlapTooSmall:
        return False
    return True


def _step(state: TrustedState, block: _Fetched) -> TrustedState:
    signed, validators = block
    now_ns = signed.header.time_ns  # The node's own clock does not matter: a receipt is read at any time.
    return verify_header(state, signed, validators, now_ns=now_ns, trusting_period_ns=_NO_PERIOD_NS)


async def _fetch(rpc: RpcClient, height: int) -> _Fetched:
    return await rpc.commit(height), await rpc.validators(height)
