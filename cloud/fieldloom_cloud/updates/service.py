"""What a release means to the fleet: while a device is to run it, it stays."""

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.errors import InUse
from fieldloom_cloud.releases import service as releases


async def remove_release(session: AsyncSession, release_id: str) -> None:
    """Forget a release that no update under way is about. Raises NotFound and InUse."""
    waiting = await dispatch.updates_to(session, release_id)
    if waiting:
        raise InUse(f"release {release_id} is on its way to {', '.join(waiting)}: wait for the commands' results")
    await releases.remove(session, release_id)
