"""API tokens over HTTP."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from fieldloom_cloud.auth import service
from fieldloom_cloud.auth.dependencies import Admin, Transaction
from fieldloom_cloud.pages import Page
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], route_class=StrictRoute)


class TokenIn(BaseModel, extra="forbid"):
    name: str = Field(min_length=1, max_length=200, description="What it is for.")
    role: Literal["viewer", "operator", "admin"] = "viewer"


class TokenOut(BaseModel):
    id: str
    name: str
    role: str
    created: str
    revoked: str | None


class NewTokenOut(TokenOut):
    token: str = Field(description="The secret: shown now, and never again.")


@router.get("")
async def list_tokens(transaction: Transaction, _: Admin) -> Page[TokenOut]:
    return Page[TokenOut].model_validate({"items": await service.tokens(transaction)})


@router.post("", status_code=201)
async def add_token(body: TokenIn, transaction: Transaction, _: Admin) -> NewTokenOut:
    return NewTokenOut(**await service.add_token(transaction, body.name, body.role))


@router.delete("/{token_id}", status_code=204)
async def revoke_token(token_id: str, transaction: Transaction, _: Admin) -> None:
    await service.revoke_token(transaction, token_id)
