"""SEATrainingJob itself: spec, status, and what `kubectl get` shows."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.data import Data, Model, Storage
from sea_api.v1alpha1.policy import Checkpoint, FailurePolicy, Weights
from sea_api.v1alpha1.roles import Coordinator, Rollout, Scheduling, Trainer, UserModel
from sea_api.v1alpha1.stages import Stage
from sea_api.v1alpha1.status import Status

GROUP = "sea-operator.io"
VERSION = "v1alpha1"
KIND = "SEATrainingJob"
PLURAL = "seatrainingjobs"
SHORT_NAME = "seajob"


class Domain(StrEnum):
    AIRLINE = "airline"
    MOCK = "mock"
    RETAIL = "retail"
    SHOP = "shop"
    TELECOM = "telecom"


class Spec(ApiModel):
    suspend: bool = False
    """Commit a checkpoint, then release all pods; false again goes on from there."""
    model: Model
    storage: Storage
    data: Data = Data()
    domains: list[Domain] = Field(min_length=1, max_length=16)
    stages: list[Stage] = Field(min_length=1, max_length=32)
    trainer: Trainer = Trainer()
    rollout: Rollout = Rollout()
    user_model: UserModel = UserModel()
    coordinator: Coordinator = Coordinator()
    weights: Weights = Weights()
    checkpoint: Checkpoint = Checkpoint()
    failure_policy: FailurePolicy = FailurePolicy()
    scheduling: Scheduling = Scheduling()


class SEATrainingJob(ApiModel):
    """One agentic RL post-training run, from base model to evaluated agent."""

    api_version: str = f"{GROUP}/{VERSION}"
    kind: str = KIND
    metadata: dict[str, Any] = {}
    spec: Spec
    status: Status = Status()
