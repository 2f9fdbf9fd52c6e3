"""A message at a gateway's broker starts a workflow of the cloud once, whoever is killed in between. (W4, W6)"""

import asyncio
import json
import ssl

import aiomqtt
import httpx2

from e2e.test_workflows import ask, told
from e2e.test_workflows_at_the_edge import deploy, items, until
from fieldloom_gateway import settings
from fieldloom_gateway.deploy import identity
from fieldloom_runtime.tls import client_context
from fixtures.processes import wait_for_port

ORDERS = {
    "id": "orders",
    "variables": [{"name": "litres", "type": "number"}],
    "triggers": [{"message": {"topic": "site/orders/+"}, "overlap": "allow", "late": "start"}],
    "initial_state": "done",
    "states": {"done": {"type": "succeed", "output": "{{ event.metadata.topic }}: {{ litres }}"}},
}
BELL = {**ORDERS, "id": "bell", "triggers": [{"message": {"topic": "site/bell"}, "late": "start"}]}


class Shop:
    """A program at a gateway's own broker that was given the right to publish to the site."""

    def __init__(self, system, number):
        self.gateway = system.processes[f"gateway-{number}"]
        self.status_page = system.status_pages[number - 1]
        data = system.folder / f"gateway-{number}"
        own = identity.of(data)
        tls = client_context(own.cert, own.cert, own.key, ssl.TLSVersion.TLSv1_3)
        port = settings.load(data).local_port
        self.client = aiomqtt.Client("127.0.0.1", port, identifier=f"shop-{number}", tls_context=tls)

    async def order(self, id_, litres, topic="site/orders/7"):
        await self.client.publish(topic, json.dumps({"id": id_, "litres": litres}), qos=1)

    def heard(self):
        """Return how many messages the gateway has kept since its start."""
        status = httpx2.get(self.status_page, timeout=20).raise_for_status().json()
        return status["workflows"]["counts"].get("messages", 0)


def listen(system, workflow):
    return all(one["status"] == "applied" for one in ask(system, f"/api/v1/workflows/{workflow}").json()["gateways"])


def outputs(system, workflow, count):
    """Return what instances have given once there are so many."""
    found = items(system, f"/api/v1/instances?workflow={workflow}&status=succeeded")
    told = sorted(ask(system, f"/api/v1/instances/{one['id']}").json()["output"] for one in found)
    return told if len(told) >= count else None


async def test_a_message_starts_a_workflow_of_the_cloud_once_over_kills_of_gateway_and_cloud(shared_system, tmp_path):
    """(W4, W6)"""
    system = shared_system
    for document in (ORDERS, BELL):
        await asyncio.to_thread(deploy, system, tmp_path, document)
    for document in (ORDERS, BELL):
        await until(lambda name=document["id"]: listen(system, name), "the gateways' word that they listen")
    here, there = Shop(system, 1), Shop(system, 2)

    async with here.client, there.client:
        for number, shop in enumerate((here, there)):
            while not shop.heard():  # a filter that is new may come before the subscription
                await shop.order(f"first-{number}", number)
                await asyncio.sleep(0.2)
        await until(lambda: outputs(system, "orders", 2), "the first orders")

        system.processes["cloud"].kill()
        before = {shop: shop.heard() for shop in (here, there)}
        await here.order("o-1", 3)
        await until(lambda: here.heard() > before[here], "the gateway's word that the order is on its disk")
        here.gateway.kill()
        await here.order("o-1", 3)
        await here.order("o-2", 4)
        await there.order("o-2", 4)
        await until(lambda: there.heard() > before[there], "the same order at the other gateway")
        here.gateway.start()
        await until(lambda: here.heard() >= 2, "what the broker has kept while the gateway was away")
        system.processes["cloud"].start()
        await asyncio.to_thread(wait_for_port, system.cloud.port)
        everything = await until(lambda: outputs(system, "orders", 4), "the orders of the time of the kills")
        assert everything == [f"site/orders/7: {litres}" for litres in (0, 1, 3, 4)]

        await asyncio.to_thread(told, system, "undeploy", "orders")
        await until(lambda: heard_last(system) == {"gw.site1": ["site/bell"], "gw.site2": ["site/bell"]}, "no orders")
        for shop in (here, there):
            await shop.order("late", 9)
        await here.order("ring", 1, topic="site/bell")
        await until(lambda: outputs(system, "bell", 1), "the bell behind the last orders")

    assert await asyncio.to_thread(outputs, system, "orders", 0) == everything
    await asyncio.to_thread(told, system, "undeploy", "bell")


def heard_last(system):
    """Return to what each gateway listens, as it has told last."""
    words = items(system, "/api/v1/events?type=workflow.listening")
    return {one["device"]: one["data"]["topics"] for one in reversed(words)}
