"""The registry's routes over a real database in this process, with a token, and its events passed on."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest
from fastapi.testclient import TestClient

from cloud.conftest import made
from fieldloom_cloud.app import interface
from fieldloom_cloud.auth import service as auth
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.registry_events import Publisher
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_cloud.workflows.worker import WorkflowWorker


class Served:
    """One database with the routes over it."""

    def __init__(self, database, pki):
        self.database = database
        self.app = interface()
        self.app.state.database = database
        self.app.state.authority = Authority.create(pki)
        self.app.state.release_root = None
        self.app.state.wake_downlink = self.app.state.wake_enforcement = lambda: None
        self.app.state.wake_maintenance = lambda: None
        self.app.state.rules = Runtime(database, AllSlots())
        self.app.state.wake_rules = self.app.state.rules.refresh
        self.app.state.slots = AllSlots()
        self.app.state.workflows = WorkflowWorker(database, {})
        self.app.router.lifespan_context = self._running
        self.client = TestClient(self.app, base_url="http://cloud/api/v1")

    @asynccontextmanager
    async def _running(self, _):
        async with self.database.transaction() as session:
            await registry.add_site(session, "default", "default")
            await registry.add_site(session, "other", "other")
            token = (await auth.add_token(session, "test", "admin"))["token"]
        self.client.headers["Authorization"] = f"Bearer {token}"
        passing = asyncio.create_task(Publisher(self.database).run(), name="registry-events")
        yield
        passing.cancel()
        with suppress(asyncio.CancelledError):
            await passing
        await self.database.close()

    def within(self, work):
        """Run `work(session)` in a transaction, in the loop of the routes."""

        async def run():
            async with self.database.transaction() as session:
                return await work(session)

        return self.client.portal.call(run)


@pytest.fixture(scope="module")
def where(new_database, tmp_path_factory):
    """Where a module's database is."""
    return made(new_database, tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def served(where, tmp_path_factory):
    served = Served(Database(where), tmp_path_factory.mktemp("pki") / "pki")
    with served.client:
        yield served


@pytest.fixture(scope="module")
def api(served):
    return served.client


def told(api, kinds, count, about=None, **params):
    """Wait for so many events of some kinds, about one id or all, and return (type, data), the oldest first."""
    deadline = time.monotonic() + 20
    while True:
        items = api.get("/events", params={"limit": 500, **params}).json()["items"]
        found = [(one["type"], one["data"]) for one in reversed(items) if one["type"].startswith(kinds)]
        found = [one for one in found if about in (None, one[1].get("id"))]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.02)
