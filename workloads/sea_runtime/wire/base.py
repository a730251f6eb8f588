"""What all JSON messages between pods share."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """One JSON body: immutable, snake_case; unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
