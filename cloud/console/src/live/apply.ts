import type { InfiniteData, QueryClient } from "@tanstack/react-query";
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

const REFETCH_EVERY_MS = 400;
const MAX_POINTS = 10_000;

type Pages<Page> = InfiniteData<Page>;

/** Puts what a stream tells into the cache, or has a list read again, at most every now and then. */
export class Applier {
  private readonly stale = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly client: QueryClient) {}

  apply(event: StreamEvent): void {
    switch (event.kind) {
      case "ready":
      case "lagged":
        void this.client.invalidateQueries();
        break;
      case "telemetry":
        this.applyTelemetry(event);
        break;
      case "presence":
        this.applyPresence(event);
        break;
      case "command":
        this.applyCommand(event);
        break;
      case "event":
        this.readAgain("listEvents");
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
  }

  private applyTelemetry({ device, ts, values }: TelemetryStored): void {
    const newer = (metrics: LatestValues["metrics"]) => {
      const fresh = Object.entries(values).filter(([name]) => (metrics[name]?.ts ?? "") <= ts);
      return { ...metrics, ...Object.fromEntries(fresh.map(([name, value]) => [name, { ts, value }])) };
    };
    this.client.setQueriesData<PageLatestOfDevice>({ queryKey: [{ _id: "listLatest" }] }, (page) => {
      if (page === undefined) return page;
      const known = page.items.some((item) => item.device === device);
      const items = known ? page.items : [...page.items, { device, metrics: {} }];
      return { ...page, items: items.map((item) => (item.device === device ? { device, metrics: newer(item.metrics) } : item)) };
    });
    this.client.setQueriesData<LatestValues>({ queryKey: [{ _id: "showLatest", path: { device_id: device } }] }, (latest) =>
      latest && { ...latest, metrics: newer(latest.metrics) },
    );
    this.appendPoints(device, ts, values);
  }

  /** Windows are read again by the page that shows them; raw points grow as they come. */
  private appendPoints(device: string, ts: string, values: TelemetryStored["values"]): void {
    const queries = this.client.getQueryCache().findAll({ queryKey: [{ _id: "queryTelemetry" }] });
    for (const query of queries) {
      const asked = (query.queryKey[0] as { query?: { device?: string[]; aggregate?: string } }).query;
      if (asked?.aggregate !== undefined || !asked?.device?.includes(device)) continue;
      this.client.setQueryData<Telemetry>(query.queryKey, (had) => had && { series: withPoints(had.series, device, ts, values) });
    }
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

  private readAgain(operation: string): void {
    this.stale.add(operation);
    this.timer ??= setTimeout(() => {
      for (const one of this.stale) void this.client.invalidateQueries({ queryKey: [{ _id: one }] });
      this.stale.clear();
      this.timer = undefined;
    }, REFETCH_EVERY_MS);
  }
}

function mapItems<Page extends { items: unknown[] }>(
  list: Pages<Page>,
  change: (item: Page["items"][number]) => Page["items"][number],
): Pages<Page> {
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: page.items.map(change) })) };
}

function withPoints(series: Telemetry["series"], device: string, ts: string, values: TelemetryStored["values"]) {
  const left = new Map(Object.entries(values).filter((entry): entry is [string, number | boolean] => isPoint(entry[1])));
  const grown = series.map((one) => {
    const value = left.get(one.metric);
    if (one.device !== device || value === undefined) return one;
    left.delete(one.metric);
    const last = one.points.at(-1)?.[0] ?? "";
    // A late record is in its place after the next reading of the whole; the line only ever grows to the right.
    return ts <= last ? one : { ...one, points: [...one.points.slice(1 - MAX_POINTS), [ts, Number(value)] as [string, number]] };
  });
  const begun = [...left].map(([metric, value]) => ({ device, metric, points: [[ts, Number(value)] as [string, number]] }));
  return [...grown, ...begun];
}

function isPoint(value: unknown): boolean {
  return typeof value === "number" || typeof value === "boolean";
}
