"""What all JSON messages between pods, and the objects that they store, share."""

from pydantic import BaseModel, ConfigDict

from sea_api.lenient import IgnoresUnknown

_CONFIG = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(IgnoresUnknown):
    """One JSON body: immutable, snake_case; NaN and infinity are refused.

    Its sender may be of another release: unknown fields are left out with a warning.
    """

    model_config = _CONFIG


class Part(BaseModel):
    """Of a `Message`, which also leaves out unknown fields of its parts.

    A message may have tens of thousands: none of them runs Python code of its own.
    """

    model_config = _CONFIG
