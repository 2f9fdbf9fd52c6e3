"""Tables of the registry."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Site(Base):
    """Where devices and gateways are."""

    __tablename__ = "site"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    automatic_entry: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether devices that are found here are registered at once. (C8)"""
    created: Mapped[datetime] = mapped_column(default=now)


class Gateway(Base):
    """A gateway; its records are taken for devices of its site."""

    __tablename__ = "gateway"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    site: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    created: Mapped[datetime] = mapped_column(default=now)


INDEXED = ("site", "name", "type", "manufacturer", "model", "firmware", "board", "status", "created", "updated")
"""What devices are found and sorted by: an index each, which ends in the id as every order does."""


class Device(Base):
    """A device as its owner knows it. (R1)"""

    __tablename__ = "device"
    __table_args__ = tuple(Index(f"device_by_{name}", name, "id") for name in INDEXED)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    site: Mapped[str] = mapped_column(ForeignKey("site.id"))
    name: Mapped[str] = mapped_column(String(200), default="")
    type: Mapped[str] = mapped_column(String(64), default="")
    manufacturer: Mapped[str] = mapped_column(String(200), default="")
    model: Mapped[str] = mapped_column(String(200), default="")
    firmware: Mapped[str] = mapped_column(String(64), default="")
    board: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """As its firmware says; releases are made for one kind of board each."""
    status: Mapped[str] = mapped_column(String(16), default="unknown")
    capabilities: Mapped[list[str]] = mapped_column(JSON, default=list)
    version: Mapped[int] = mapped_column(default=1)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)


class Tag(Base):
    """One tag of a device: a row each, so that an index serves the filter."""

    __tablename__ = "device_tag"
    __table_args__ = (Index("device_tag_by_value", "key", "value", "device"),)

    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))


class Capability(Base):
    """One capability of a device, for the filter; their order is in the device's own row."""

    __tablename__ = "device_capability"
    __table_args__ = (Index("device_capability_by_name", "name", "device"),)

    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)


class DeviceText(Base):
    """What free text finds a device by, case folded; a trigram index of the database's own serves it. (R1)"""

    __tablename__ = "device_text"

    number: Mapped[int] = mapped_column(primary_key=True)
    """Stays the same, which SQLite's own row ids do not: its index of texts refers to it."""
    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), unique=True)
    text: Mapped[str] = mapped_column(Text)


class Group(Base):
    """Devices that are meant together: those that its query finds, or those that are listed as its members. (R3)"""

    __tablename__ = "device_group"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    query: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """None where members are listed."""
    version: Mapped[int] = mapped_column(default=1)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)


class Member(Base):
    """A device that is listed in a group."""

    __tablename__ = "group_member"
    __table_args__ = (Index("group_member_by_device", "device"),)

    group: Mapped[str] = mapped_column(ForeignKey("device_group.id", ondelete="CASCADE"), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)


class DeviceState(Base):
    """What a device told last of itself and its presence, and in which session: only a newer one changes it."""

    __tablename__ = "device_state"

    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    session: Mapped[str] = mapped_column(String(64))
    at: Mapped[int] = mapped_column(BigInteger)
    """When its gateway heard it, Unix ms."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    gateway: Mapped[str] = mapped_column(String(64), default="")
    """Which heard it; empty where that was not kept yet."""
    quiet_at: Mapped[int | None] = mapped_column(BigInteger)
    """When it told last that no record waited with it, Unix ms."""


def public(device: Device, tags: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a device that the API shows."""
    names = (
        "id",
        "site",
        "name",
        "type",
        "manufacturer",
        "model",
        "firmware",
        "board",
        "status",
        "capabilities",
        "version",
    )
    return {**{name: getattr(device, name) for name in names}, "tags": tags}
