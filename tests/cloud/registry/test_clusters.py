"""The gateways of a site and their cluster, as the cloud was told. (D3, A5)"""

import itertools
import time

import pytest

from fieldloom_cloud.ingest import gateways
from fieldloom_cloud.ingest.gateways import SILENT_MS
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime.gateway_state import Cluster, GatewayState, Member, encode

numbers = itertools.count(1)


class Site:
    """Three gateways of a site, which tell the cloud of themselves; `ago` is ms before now."""

    def __init__(self, served, api):
        self.served, self.api = served, api
        self.id = f"cluster-{next(numbers)}"
        api.post("/sites", json={"id": self.id}).raise_for_status()
        self.names = [f"gw.{self.id}-{letter}" for letter in "abc"]
        for name in self.names:
            served.within(lambda session, name=name: registry.add_gateway(session, name, self.id))

    def cluster(self, *states, leader="", fault=""):
        """Return a word on the cluster, in which a gateway has as many partitions as its place says."""
        told = [Member(self.names[place], state, "0.2.0", place) for place, state in enumerate(states)]
        return Cluster(told, leader, fault)

    def tell(self, place, cluster=None, ago=0, **changes):
        told = {"online": True, "at": 1, "stream": bytes([place]) * 16, "release": "0.1.0", "cluster": cluster}
        word = gateways.parse(encode(GatewayState(**{**told, **changes})))
        now = time.time_ns() // 1_000_000 - ago
        self.served.within(lambda session: gateways.hear(session, self.names[place], word, now))

    def shown(self):
        return self.api.get(f"/sites/{self.id}/cluster").raise_for_status().json()


@pytest.fixture
def site(served, api):
    return Site(served, api)


def test_gateways_of_no_cluster_are_shown_by_what_each_tells(site):
    site.tell(0, waiting=7)
    site.tell(1)
    site.tell(1, online=False, stream=b"", release="")

    shown = site.shown()

    alone = {"release": "0.1.0", "member": None}
    assert shown["cluster"] is None
    first, second, third = shown["items"]
    assert {**first, "heard": None} == {"id": site.names[0], "online": True, "heard": None, "waiting": 7, **alone}
    assert (second["online"], second["release"], second["waiting"]) == (False, "0.1.0", 0)
    assert third == {"id": site.names[2], "online": False, "heard": None, "waiting": None, **alone, "release": None}


def test_a_cluster_is_as_the_gateway_says_it_that_knows_most(site):
    site.tell(0, site.cluster("active", "active", "down", leader=site.names[0]), ago=20_000)
    site.tell(1, site.cluster("active", "active", "down", leader=site.names[1]), ago=10_000)
    cut_off = site.cluster("down", "down", "active", fault="no leader")
    site.tell(2, cut_off, ago=0)

    shown = site.shown()

    assert (shown["cluster"]["told_by"], shown["cluster"]["leader"]) == (site.names[1], site.names[1])
    members = [(one["member"]["state"], one["member"]["partitions"]) for one in shown["items"]]
    assert members == [("active", 0), ("active", 1), ("down", 2)]
    site.tell(0, online=False, stream=b"")
    site.tell(1, site.cluster("active", "active", "active"), ago=SILENT_MS + 1)  # silent since
    shown = site.shown()
    assert (shown["cluster"]["told_by"], shown["cluster"]["fault"]) == (site.names[2], "no leader")
    site.tell(2)
    assert site.shown()["cluster"]["told_by"] == site.names[0], "who has left it speaks of it no more"


def test_a_site_that_is_not_known_has_no_cluster(api):
    assert api.get("/sites/nowhere/cluster").status_code == 404
