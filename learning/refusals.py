"""Why a payload is refused: one class per reason, with a slug that goes into logs and outcomes.

All of them are faults that the bytes themselves prove, so a ledger may penalise them in full.
"""

from typing import ClassVar

from .errors import LearningError


class PayloadRefused(LearningError):
    """The root. `reason` is the slug, `facts` what was expected and what was there."""

    reason: ClassVar[str] = "payload_refused"


class Oversize(PayloadRefused):
    """More bytes than were declared."""

    reason: ClassVar[str] = "oversize"


class Truncated(PayloadRefused):
    """Fewer bytes than the header, or the layout, needs."""

    reason: ClassVar[str] = "truncated"


class TrailingBytes(PayloadRefused):
    """Bytes after the last tensor."""

    reason: ClassVar[str] = "trailing_bytes"


class Malformed(PayloadRefused):
    """Not a safetensors header, or not the canonical one."""

    reason: ClassVar[str] = "malformed"


class WrongManifest(PayloadRefused):
    """A manifest entry that is missing, surplus, or not of the form that the ledger asks for."""

    reason: ClassVar[str] = "wrong_manifest"


class Misnamed(PayloadRefused):
    """A manifest that names another organisation, dataset, task, round or base than the ledger does."""

    reason: ClassVar[str] = "misnamed"


class MissingTensor(PayloadRefused):
    """A tensor of the layout is absent."""

    reason: ClassVar[str] = "missing_tensor"


class ExtraTensor(PayloadRefused):
    """A tensor that the layout does not have."""

    reason: ClassVar[str] = "extra_tensor"


class WrongDtype(PayloadRefused):
    """A tensor in another number format than the codec's."""

    reason: ClassVar[str] = "wrong_dtype"


class WrongShape(PayloadRefused):
    """A tensor of another shape than the layout's."""

    reason: ClassVar[str] = "wrong_shape"


class NotFinite(PayloadRefused):
    """NaN or an infinity in a float32 payload."""

    reason: ClassVar[str] = "not_finite"


class OutOfRange(PayloadRefused):
    """The int32 -2**31, which has no negative and which no honest encoder writes."""

    reason: ClassVar[str] = "out_of_range"


class OverNorm(PayloadRefused):
    """An L2 norm over the bound of the terms."""

    reason: ClassVar[str] = "over_norm"
