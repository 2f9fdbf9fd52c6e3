"""The audit log over HTTP. (A2)"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Admin, Transaction
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.strict import Instant, StrictRoute
from fieldloom_cloud.trail import service
from fieldloom_contract.limits import MAX_WHOLE

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=StrictRoute)

Text = Annotated[str | None, Query(max_length=200)]


class ActorOut(BaseModel):
    kind: Literal["token", "session", "est", "gateway", "command", "cloud", "nobody"]
    id: str
    name: str


class AuditOut(BaseModel):
    number: int = Field(description="From 1, without a gap.")
    at: str
    actor: ActorOut
    address: str = Field(description="Where the request came from; empty where it came over no network.")
    action: str = Field(description="The operation's id in the OpenAPI document, or what it is called elsewhere.")
    method: str
    route: str
    kind: str = Field(description="Of the object.")
    object: str = Field(description="The object's id.")
    subject: str = Field(description="The device or gateway that the object belongs to.")
    before: dict[str, Any] | None = Field(description="The fields that were changed; null for what was made.")
    after: dict[str, Any] | None = Field(description="null for what is gone. Secrets are hidden.")
    outcome: Literal["done", "refused"]
    status: int | None = Field(description="Of the answer, where it was refused.")
    reason: str | None = Field(description="Why it was refused.")
    count: int = Field(description="How many requests this row stands for: of refused ones it tells the last one.")
    sha256: str = Field(description="Of this row and the hash of the one before it.")


class VerifiedOut(BaseModel):
    first: int = Field(description="The oldest row that is kept.")
    newest: int
    sha256: str = Field(description="Of the newest row: who keeps it elsewhere can hold it against the log later.")
    next: int | None = Field(description="What to go on `after`; null at the end.")
    faults: list[str]


@router.get("")
async def list_audit(
    transaction: Transaction,
    _: Admin,
    actor: Annotated[Text, Query(description="An id or a name.")] = None,
    object: Annotated[Text, Query(description="Its id, or the device or gateway that it belongs to.")] = None,  # noqa: A002 - the name in the API
    action: Text = None,
    start: Annotated[Instant | None, Query(alias="from")] = None,
    end: Annotated[Instant | None, Query(alias="to", description="That moment is not in the range.")] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[AuditOut]:
    """List what was changed and what was refused, the newest first."""
    wanted = service.Asked(actor, object, action, start, end)
    found, following = await service.rows(transaction, wanted, Asked(limit=limit, cursor=cursor))
    return Page[AuditOut].model_validate({"items": found, "next": following})


@router.get("/verification")
async def verify_audit(
    transaction: Transaction, _: Admin, after: Annotated[int, Query(ge=0, le=MAX_WHOLE)] = 0
) -> VerifiedOut:
    """Hold up to 10,000 rows above `after` against the chain of their hashes, and tell what does not fit."""
    verified = (await service.verify(transaction, after))._asdict()
    return VerifiedOut(next=verified.pop("following"), **verified)
