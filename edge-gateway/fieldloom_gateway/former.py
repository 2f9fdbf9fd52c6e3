"""What stands in a map that this gateway had for itself before: it is put where it belongs now, and the map removed."""

from pathlib import Path

from fieldloom_gateway.automation.workflows.former import former_instances
from fieldloom_gateway.automation.workflows.service import Workflows
from fieldloom_gateway.clock import unix_ms
from fieldloom_gateway.cluster.consensus.single import FILE as MAP
from fieldloom_gateway.cluster.node import FOLDER as CLUSTER
from fieldloom_gateway.cluster.node import entries_of
from fieldloom_gateway.ingest.disk import Disk
from fieldloom_gateway.twins.kept import former_twins


async def bring_former(gateway: str, data: Path, disk: Disk, workflows: Workflows, *, is_alone: bool) -> None:
    """Take instances and twins from former maps of a data folder; the present one of a gateway alone is none."""
    for folder in [data] if is_alone else [data, data / CLUSTER]:
        path = folder / MAP
        if path.exists():
            entries = await entries_of(gateway, folder)
            await disk.commit(workflows.put_all, former_instances(entries))
            await disk.commit(disk.store.twins.bring, former_twins(entries), unix_ms())
            path.unlink()
