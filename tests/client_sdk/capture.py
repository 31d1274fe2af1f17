"""Record what a real network answers: ``python -m tests.client_sdk.capture`` writes data/cometbft-0.39.4.json anew.

Four validators of CometBFT's own kvstore. On the way, one transaction, one validator that gets more power (so that the
set changes, in order too), and one that is killed (so that commits have a gap). Keys and times are those of the run.
"""

import asyncio
import base64
import hashlib
import json
import tempfile
from pathlib import Path

from campaigns.harness import comet
from client_sdk.rpc import RpcClient

RECORDING = Path(__file__).parent / "data" / "cometbft-0.39.4.json"
TX = b"hello=ledger"
POWER = 2


async def record(folder: Path) -> dict:
    async with comet.running(folder, count=4) as nodes, RpcClient([nodes[0].address]) as rpc:
        ask = rpc.transport.call
        genesis = json.loads((nodes[0].home / "config" / "genesis.json").read_text())
        sent = [TX, b"val=ed25519!" + genesis["validators"][3]["pub_key"]["value"].encode() + b"!%d" % POWER]
        for raw in sent:
            assert (await rpc.broadcast_tx_sync(raw)).code == 0
        await comet.height_of(rpc, 8)
        await nodes[1].kill()
        newest = (await rpc.abci_info()).height + 4
        await comet.height_of(rpc, newest + 1)
        heights = range(1, newest + 1)

        async def answers(method: str, **others: str) -> dict:
            return {str(height): (await ask(method, {"height": str(height), **others})).members() for height in heights}

        digest = base64.b64encode(hashlib.sha256(TX).digest()).decode()
        return {
            "what": "answers of CometBFT 0.39.4 with its kvstore, recorded by tests/client_sdk/capture.py",
            "genesis": genesis,
            "sent": [base64.b64encode(raw).decode() for raw in sent],
            "commit": await answers("commit"),
            "validators": await answers("validators", per_page="100"),
            "block": await answers("block"),
            "block_results": await answers("block_results"),
            "tx": (await ask("tx", {"hash": digest, "prove": True})).members(),
        }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = asyncio.run(record(Path(folder) / "net"))
    RECORDING.parent.mkdir(exist_ok=True)
    RECORDING.write_text(json.dumps(recording, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
