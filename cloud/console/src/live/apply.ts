import type { InfiniteData, QueryClient, QueryFilters } from "@tanstack/react-query";
import { showSessionQueryKey } from "../api/@tanstack/react-query.gen";
import type {
  CommandMoved,
  LatestValues,
  PageCommandOut,
  PageDeviceOut,
  PageLatestOfDevice,
  PresenceChanged,
  StreamEvent,
  Telemetry,
  TelemetryStored,
} from "../api/types.gen";

const FLUSH_EVERY_MS = 250;
const MAX_POINTS = 10_000;

type Pages<Page> = InfiniteData<Page>;

/** What is read again after an event, by how its type begins. */
const READ_AFTER: [string, string[]][] = [
  ["twin.", ["showTwin"]],
  ["rule.", ["listRules", "showRule", "listFirings"]],
  ["workflow.", ["listWorkflows", "showWorkflow", "showWorkflowGraph"]],
  ["group.", ["listGroups", "showGroup", "listMembers"]],
  ["type.", ["listTypes"]],
  ["device.", ["listMembers", "listDiscoveries"]],
  ["reading.", ["listMisfits"]],
  ["mute.", ["listMutes"]],
  ["actuator.", ["showHolds"]],
  ["command.result", ["showHolds"]],
  ["gateway.", ["showCluster"]],
];

/** The key of a generated query: its operation and what was asked. */
type Key = { _id: string; query?: { device?: string[]; aggregate?: string }; path?: { device_id?: string } };

/**
 * Puts what a stream tells into the cache, or has a list read again.
 *
 * Readings and repeated readings of lists are done together a few times a second, however much a large fleet tells.
 */
export class Applier {
  private readonly stale = new Set<string>();
  private readings: TelemetryStored[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** First readings that were under way when something happened: they may be answered with what was before. */
  private readonly early = new Set<string>();
  private readonly stopLooking: () => void;

  constructor(private readonly client: QueryClient) {
    this.stopLooking = client.getQueryCache().subscribe((told) => {
      if (told.type !== "updated" || told.action.type !== "success" || !this.early.delete(told.query.queryHash)) return;
      void client.invalidateQueries({ queryKey: told.query.queryKey, exact: true });
    });
  }

  apply(event: StreamEvent): void {
    switch (event.kind) {
      case "ready":
      case "lagged":
        this.invalidate({});
        break;
      case "telemetry":
        this.readings.push(event);
        this.flushSoon();
        break;
      case "presence":
        this.applyPresence(event);
        break;
      case "command":
        this.applyCommand(event);
        break;
      case "event":
        this.readAgain("listEvents");
        for (const [kind, operations] of READ_AFTER) {
          if (event.type.startsWith(kind)) operations.forEach((one) => this.readAgain(one));
        }
        break;
      case "alarm":
        ["listAlarms", "showAlarm", "countAlarms"].forEach((one) => this.readAgain(one));
        break;
      case "instance":
        ["listInstances", "showInstance", "listWorkflows", "showWorkflow", "showWorkflowGraph"].forEach((one) => this.readAgain(one));
        break;
      case "gateway":
        this.readAgain("showCluster");
        break;
      case "dead_letter":
        this.readAgain("listDeadLetters");
        break;
    }
  }

  /** Find out whether the connection broke because nobody is logged in any more. */
  checkSession(): void {
    void this.client.invalidateQueries({ queryKey: showSessionQueryKey() });
  }

  stop(): void {
    clearTimeout(this.timer);
    this.stopLooking();
  }

  private applyPresence({ device, status, firmware }: PresenceChanged): void {
    this.client.setQueriesData<Pages<PageDeviceOut>>({ queryKey: [{ _id: "listDevices", _infinite: true }] }, (list) =>
      list && mapItems(list, (item) => (item.id === device ? { ...item, status, firmware } : item)),
    );
    this.readAgain("listDevices");
    this.readAgain("showDevice");
  }

  private applyCommand({ id, status, result, error }: CommandMoved): void {
    this.client.setQueriesData<Pages<PageCommandOut>>({ queryKey: [{ _id: "listCommands", _infinite: true }] }, (list) =>
      list && mapItems(list, (item) => (item.id === id ? { ...item, status, result, error } : item)),
    );
    this.readAgain("listCommands");
  }

  /** Have readings made anew; a first one that is under way is not begun again by this, so it is when it is through. */
  private invalidate(which: QueryFilters): void {
    const underWay = this.client.getQueryCache().findAll({ ...which, fetchStatus: "fetching" });
    for (const one of underWay) if (one.state.data === undefined) this.early.add(one.queryHash);
    void this.client.invalidateQueries(which);
  }

  private readAgain(operation: string): void {
    this.stale.add(operation);
    this.flushSoon();
  }

  private flushSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const readings = this.readings;
      this.readings = [];
      if (readings.length > 0) applyReadings(this.client, readings);
      for (const one of this.stale) this.invalidate({ queryKey: [{ _id: one }] });
      this.stale.clear();
    }, FLUSH_EVERY_MS);
  }
}

function applyReadings(client: QueryClient, readings: TelemetryStored[]): void {
  const byDevice = Map.groupBy(readings, (reading) => reading.device);
  for (const query of client.getQueryCache().findAll()) {
    const { _id: operation, query: asked, path } = query.queryKey[0] as Key;
    if (operation === "listLatest") {
      client.setQueryData<PageLatestOfDevice>(query.queryKey, (page) => page && withLatest(page, asked?.device ?? [], byDevice));
    } else if (operation === "showLatest") {
      const told = byDevice.get(path?.device_id ?? "");
      if (told) client.setQueryData<LatestValues>(query.queryKey, (had) => had && { metrics: newer(had.metrics, told) });
    } else if (operation === "queryTelemetry" && asked?.aggregate === undefined) {
      // Windows are read again by the page that shows them; raw points grow as they come.
      const told = asked?.device?.flatMap((device) => byDevice.get(device) ?? []) ?? [];
      if (told.length > 0) client.setQueryData<Telemetry>(query.queryKey, (had) => had && { series: told.reduce(withPoints, had.series) });
    }
  }
}

function withLatest(page: PageLatestOfDevice, asked: string[], byDevice: Map<string, TelemetryStored[]>): PageLatestOfDevice {
  const had = new Map(page.items.map((item) => [item.device, item]));
  for (const device of asked) {
    const told = byDevice.get(device);
    if (told) had.set(device, { device, metrics: newer(had.get(device)?.metrics ?? {}, told) });
  }
  return { ...page, items: [...had.values()] };
}

function newer(metrics: LatestValues["metrics"], readings: TelemetryStored[]): LatestValues["metrics"] {
  const all = { ...metrics };
  for (const { ts, values } of readings) {
    for (const [name, value] of Object.entries(values)) {
      if ((all[name]?.ts ?? "") <= ts) all[name] = { ts, value };
    }
  }
  return all;
}

function mapItems<Page extends { items: unknown[] }>(
  list: Pages<Page>,
  change: (item: Page["items"][number]) => Page["items"][number],
): Pages<Page> {
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: page.items.map(change) })) };
}

function withPoints(series: Telemetry["series"], { device, ts, values, tags }: TelemetryStored): Telemetry["series"] {
  const left = new Map(Object.entries(values).filter((entry): entry is [string, number | boolean] => isPoint(entry[1])));
  const grown = series.map((one) => {
    const value = left.get(one.metric);
    if (one.device !== device || value === undefined || !isSame(one.tags, tags[one.metric] ?? {})) return one;
    left.delete(one.metric);
    const last = one.points.at(-1)?.[0] ?? "";
    // A late record is in its place after the next reading of the whole; the line only ever grows to the right.
    return ts <= last ? one : { ...one, points: [...one.points.slice(1 - MAX_POINTS), [ts, Number(value)] as [string, number]] };
  });
  const begun = [...left].map(([metric, value]) => ({
    device,
    metric,
    tags: tags[metric] ?? {},
    points: [[ts, Number(value)] as [string, number]],
  }));
  return [...grown, ...begun];
}

function isSame(one: Record<string, string>, other: Record<string, string>): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}

function isPoint(value: unknown): boolean {
  return typeof value === "number" || typeof value === "boolean";
}
