"""Tables of workflows: what is deployed, instances with their checkpoints, what happens to them, what they ask for.

Times in Unix ms.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.automation.telling import AtGateway, Kind
from fieldloom_cloud.database import Base, now
from fieldloom_runtime import down


class WorkflowRow(Base):
    """A workflow that is deployed, and the version that starts instances. (W7)"""

    __tablename__ = "workflow"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(20))
    revision: Mapped[int]
    """Counts its deployments: the ETag."""
    updated: Mapped[datetime] = mapped_column(default=now)


class WorkflowVersion(Base):
    """What a version says; it never changes, and stays for the instances that began with it. (W7)"""

    __tablename__ = "workflow_version"

    workflow: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(20), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    fingerprint: Mapped[str] = mapped_column(String(64))
    deployed: Mapped[int | None] = mapped_column(BigInteger)
    """When, in Unix ns; None when it is undeployed."""
    changed: Mapped[int] = mapped_column(BigInteger)
    """When it was deployed or undeployed last, in Unix ns: by the newest of these all processes know what is new."""
    created: Mapped[datetime] = mapped_column(default=now)


class WorkflowAtGateway(AtGateway, Base):
    """What became of a workflow at a gateway. (W7, W8)"""

    __tablename__ = "workflow_at_gateway"

    workflow: Mapped[str] = mapped_column(String(64), primary_key=True)


AT_GATEWAYS = Kind(WorkflowAtGateway, "workflow", ("version", "devices"), down.WORKFLOW, down.Workflows, down.WORKFLOWS)


class TopicsAtGateway(Base):
    """To which topic filters a gateway was told last to listen for workflows of the cloud. (W4)"""

    __tablename__ = "workflow_topics"

    gateway: Mapped[str] = mapped_column(String(64), primary_key=True)
    topics: Mapped[list[str]] = mapped_column(JSON)
    at: Mapped[int | None] = mapped_column(BigInteger)
    """When it said that it does, by its own clock."""


class InstanceRow(Base):
    """An instance: its checkpoint, and of what stands there that which is searched for. (W5, W6)"""

    __tablename__ = "workflow_instance"
    __table_args__ = (
        Index("workflow_instance_by_deadline", "deadline"),
        Index("workflow_instance_by_ended", "ended"),
        Index("workflow_instance_by_workflow", "workflow", "status"),
        Index("workflow_instance_by_key", "workflow", "correlation", "status"),
        Index("workflow_instance_by_device", "device"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    workflow: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(20))
    gateway: Mapped[str] = mapped_column(String(64), default="")
    """Which carries it out; empty: the cloud does."""
    status: Mapped[str] = mapped_column(String(10))
    correlation: Mapped[str | None] = mapped_column(String(256))
    device: Mapped[str] = mapped_column(String(64))
    """Empty where it is about none."""
    parent: Mapped[str | None] = mapped_column(String(32))
    """The instance that waits for its end."""
    created: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[int | None] = mapped_column(BigInteger)
    deadline: Mapped[int | None] = mapped_column(BigInteger)
    """When time goes on with it next; of one that has not begun when it was made."""
    revision: Mapped[int]
    """Counts its steps: a step that began from another one is refused."""
    checkpoint: Mapped[bytes] = mapped_column(LargeBinary)
    """How it is; of one at a gateway what the cloud knows of that (`edge.Mirror`)."""
    fault: Mapped[str | None] = mapped_column(Text)
    """Why this cloud can't go on with it, as another version of it may; of one at a gateway why it may be lost."""


class HappeningRow(Base):
    """Something that happens to an instance, until a step has taken it."""

    __tablename__ = "workflow_happening"
    __table_args__ = (Index("workflow_happening_by_instance", "instance"),)

    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    instance: Mapped[str] = mapped_column(String(32))
    told: Mapped[bytes] = mapped_column(LargeBinary)


class RequestRow(Base):
    """Something that was asked of an instance at a gateway, and what the gateway has answered. (W7)"""

    __tablename__ = "workflow_request"
    __table_args__ = (Index("workflow_request_by_instance", "instance", "asked"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    instance: Mapped[str] = mapped_column(String(32))
    gateway: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    about: Mapped[str] = mapped_column(String(1024))
    """Why it shall end, of what event it is told, or at which state it begins again."""
    asked: Mapped[int] = mapped_column(BigInteger)
    answered: Mapped[int | None] = mapped_column(BigInteger)
    refused: Mapped[str | None] = mapped_column(String(4096))
    """Why it was not done; None too while nothing was answered."""


class AwaitedRow(Base):
    """An event for which an instance waits."""

    __tablename__ = "workflow_awaited"
    __table_args__ = (
        Index("workflow_awaited_by_event", "type", "key"),
        Index("workflow_awaited_by_instance", "instance"),
    )

    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    instance: Mapped[str] = mapped_column(String(32))
    type: Mapped[str] = mapped_column(String(64))
    property: Mapped[str | None] = mapped_column(Text)
    """What correlates it: a path in its data; None for its source."""
    key: Mapped[str | None] = mapped_column(Text)
    """What that has to be; None: whatever it is."""


class EffectRow(Base):
    """Something that an instance has asked for and that is not done in the step itself. (W6)"""

    __tablename__ = "workflow_effect"
    __table_args__ = (
        Index("workflow_effect_by_status", "status", "due"),
        Index("workflow_effect_by_instance", "instance"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    instance: Mapped[str] = mapped_column(String(32))
    workflow: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    parameters: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[str] = mapped_column(String(10))
    """`waiting` to be done, `sent` while its outcome is awaited, `done`, `failed`, `withdrawn`."""
    attempts: Mapped[int]
    due: Mapped[int] = mapped_column(BigInteger)
    """When it is tried next; of what is sent when it is looked after."""
    created: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)


class CommandOfEffect(Base):
    """A command that an effect has sent."""

    __tablename__ = "workflow_command"
    __table_args__ = (Index("workflow_command_by_effect", "effect"),)

    command: Mapped[str] = mapped_column(String(32), primary_key=True)
    effect: Mapped[str] = mapped_column(String(32))


class HistoryRow(Base):
    """An entry of an instance's history. (W5)"""

    __tablename__ = "workflow_history"

    instance: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    record: Mapped[bytes] = mapped_column(LargeBinary)


class QueuedStart(Base):
    """A start that waits until those with its key have ended. (W4)"""

    __tablename__ = "workflow_queue"
    __table_args__ = (Index("workflow_queue_by_key", "workflow", "correlation"),)

    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    workflow: Mapped[str] = mapped_column(String(64))
    correlation: Mapped[str] = mapped_column(String(256))
    parent: Mapped[str | None] = mapped_column(String(32))
    checkpoint: Mapped[bytes] = mapped_column(LargeBinary)
    """The instance as it will begin."""


class ScheduleRow(Base):
    """Up to when a schedule has been looked at. (W4)"""

    __tablename__ = "workflow_schedule"

    workflow: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """The trigger's place."""
    told: Mapped[str] = mapped_column(Text)
    """Expression and time zone: another one begins anew."""
    after: Mapped[int] = mapped_column(BigInteger)
