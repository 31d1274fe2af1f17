"""Every bound of the ledger in one place, each with its unit; relations between bounds are asserted at import.

A bound is a rule of consensus: changing one changes which transactions are valid. Once a chain is live these stay, and
a later version of the rules brings its own: those of transactions and blocks in ``rulebook.Limits``, those of a
contract in the records and handlers that it has from then on.
"""

from typing import Final

# Transactions -----------------------------------------------------------------------------------
TX_BYTES: Final = 48 * 1024  # One signed envelope, as it arrives.
TX_VALIDITY_BLOCKS: Final = 1_000  # Furthest `valid_until` may lie ahead of the block that includes it.
NONCE_BYTES: Final = 16
CHAIN_ID_CHARS: Final = 50  # CometBFT's own bound on a chain id.
BLOCK_TXS_PER_ORGANISATION: Final = 64  # A member cannot fill a block: the rest wait for the next one.
BLOCK_BYTES: Final = 4 * 1024 * 1024  # The transactions of a block, as CometBFT counts them against `max_tx_bytes`.
REPLAY_PRUNED_PER_BLOCK: Final = 4_096  # Expired replay marks dropped by one non-empty block.

# State ------------------------------------------------------------------------------------------
PATH_BYTES: Final = 255  # LMDB refuses keys over 511 bytes, and would do so in Commit.
VALUE_BYTES: Final = 64 * 1024  # One encoded record.

# Text -------------------------------------------------------------------------------------------
NAME_CHARS: Final = 40  # Slugs of organisations, datasets, tasks and models.
LABEL_CHARS: Final = 40
REASON_CHARS: Final = 40
CID_CHARS: Final = 80  # A base32 CIDv1 of a SHA-256 digest has 59.
RECIPIENT_CHARS: Final = 62  # Of an age X25519 recipient, exactly.

# Identity ---------------------------------------------------------------------------------------
ORGANISATIONS: Final = 256
LEGAL_ID_CHARS: Final = 64  # An LEI has 20.
KEYS_PER_ORGANISATION: Final = 16  # Live and revoked together: the enrolment cap of paper section 4.3.
KEYS_LISTED: Final = 64  # With those that were never good, because who enrolled them was a thief: he cannot use it up.
KEYS_WITH_RECOVERIES: Final = KEYS_LISTED + 4  # So that the cap leaves nobody beyond help.
DATASETS_PER_ORGANISATION: Final = 16
RECOVERY_DELAY_MS: Final = 3 * 24 * 3600 * 1000  # In which a member that still has a human key says no.
LOOK_BACK_BLOCKS: Final = 302_400  # How far back a key can be reported stolen: 7 days of empty blocks, 2 s apart.

# Privacy ----------------------------------------------------------------------------------------
DELTA_INVERSE_MIN: Final = 100_000  # δ ≤ 10⁻⁵.
DELTA_INVERSE_MAX: Final = 10**12
EPSILON_NANO_MAX: Final = 100 * 10**9  # ε = 100 protects nobody: no account may promise less.
HOLDS_PER_ACCOUNT: Final = 8

# Rounds -----------------------------------------------------------------------------------------
SEATS_PER_ROUND: Final = 256  # Every organisation may have one.
AGGREGATORS_PER_TASK: Final = 8
VERIFIERS_PER_TASK: Final = 16
RECIPIENTS_PER_TASK: Final = 32
ROUNDS_PER_TASK: Final = 100_000
PHASE_BLOCKS: Final = 256
PHASE_MS_MIN: Final = 500
PHASE_MS_MAX: Final = 14 * 24 * 3600 * 1000
PAYLOAD_BYTES: Final = 2**31
PARTS_PER_MILLION: Final = 1_000_000

# Models -----------------------------------------------------------------------------------------
MODELS: Final = 256
VERSIONS_PER_MODEL: Final = 100_000

# Validators -------------------------------------------------------------------------------------
VALIDATORS: Final = 64
VALIDATOR_POWER: Final = 10  # Of every validator; above 1, so that CometBFT's rotation has room for rounding.

# Governance -------------------------------------------------------------------------------------
PROPOSAL_MS: Final = 7 * 24 * 3600 * 1000
UPGRADE_NOTICE_BLOCKS: Final = 100  # The least between the vote and the first block under new rules.
MIGRATION_WRITES: Final = 10_000  # Of one upgrade, in one block; what is more is read with a default instead.
OPEN_PROPOSALS_PER_MEMBER: Final = 8

assert TX_BYTES < VALUE_BYTES, "a record that fits a transaction must fit the store"
assert VALIDATORS * VALIDATOR_POWER < 2**60, "CometBFT bounds the total power by (2^63 - 1) / 8"
assert VERIFIERS_PER_TASK <= RECIPIENTS_PER_TASK, "every verifier must be able to read the payloads"
assert DELTA_INVERSE_MIN < DELTA_INVERSE_MAX
assert PHASE_MS_MIN < PHASE_MS_MAX
assert SEATS_PER_ROUND == ORGANISATIONS, "a seat is an organisation: no place can be taken from another"
# Four slugs, a map's own name and a padded number are the longest path any map builds.
assert 5 * (NAME_CHARS + 1) + 20 <= PATH_BYTES
