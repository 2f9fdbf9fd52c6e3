import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet } from "@tanstack/react-router";
import { NotFound } from "./components/NotFound";
import { type Severity, severityOf } from "./components/Severity";
import { Shell } from "./components/Shell";
import { DeadLettersPage } from "./pages/dead-letters/DeadLettersPage";
import { DevicePage } from "./pages/device/DevicePage";
import { type Range, rangeOf } from "./pages/device/ranges";
import { FleetPage } from "./pages/fleet/FleetPage";
import type { Found } from "./pages/groups/query";
import { LoginPage } from "./pages/login/LoginPage";
import type { Wanted } from "./pages/instances/Instances";
import { statusOf } from "./pages/instances/Status";
import { type View, viewOf } from "./pages/rules/views";
import * as workflowViews from "./pages/workflows/views";

// What of a page's state is in its address.
type FleetSearch = { q?: string; status?: string };
type DeviceSearch = { range?: Range; view?: "table" };
type DeadLettersSearch = { device?: string };
type TypeSearch = { version?: number };
type AlarmsSearch = { which?: "all"; severity?: Severity; device?: string };
type RulesSearch = { add?: true };
type RuleSearch = { view?: View };
type WorkflowsSearch = { add?: true };
type WorkflowSearch = { view?: workflowViews.View; version?: string };
type GatewaysSearch = { site?: string };
type DiscoveriesSearch = { dismissed?: true };

const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });

const login = createRoute({ getParentRoute: () => root, path: "/login", component: LoginPage });

const shell = createRoute({ getParentRoute: () => root, id: "shell", component: Shell });

const fleet = createRoute({
  getParentRoute: () => shell,
  path: "/",
  component: FleetPage,
  validateSearch: (search): FleetSearch => ({ q: text(search.q), status: text(search.status) }),
});

const device = createRoute({
  getParentRoute: () => shell,
  path: "/devices/$device",
  component: DevicePage,
  validateSearch: (search): DeviceSearch => ({ range: rangeOf(search.range), view: search.view === "table" ? "table" : undefined }),
});

const deadLetters = createRoute({
  getParentRoute: () => shell,
  path: "/dead-letters",
  component: DeadLettersPage,
  validateSearch: (search): DeadLettersSearch => ({ device: text(search.device) }),
});

const alarms = createRoute({
  getParentRoute: () => shell,
  path: "/alarms",
  component: lazyRouteComponent(() => import("./pages/alarms/AlarmsPage"), "AlarmsPage"),
  validateSearch: (search): AlarmsSearch => ({
    which: search.which === "all" ? "all" : undefined,
    severity: severityOf(search.severity),
    device: text(search.device),
  }),
});
const groups = createRoute({
  getParentRoute: () => shell,
  path: "/groups",
  component: lazyRouteComponent(() => import("./pages/groups/GroupsPage"), "GroupsPage"),
  validateSearch: (search): Found => ({ q: text(search.q), type: text(search.type), status: text(search.status), tag: text(search.tag) }),
});

const group = createRoute({ getParentRoute: () => shell, path: "/groups/$group", component: lazyRouteComponent(() => import("./pages/groups/GroupPage"), "GroupPage") });

const types = createRoute({ getParentRoute: () => shell, path: "/types", component: lazyRouteComponent(() => import("./pages/types/TypesPage"), "TypesPage") });

const type = createRoute({
  getParentRoute: () => shell,
  path: "/types/$type",
  component: lazyRouteComponent(() => import("./pages/types/TypePage"), "TypePage"),
  validateSearch: (search): TypeSearch => ({ version: Number(search.version) > 0 ? Number(search.version) : undefined }),
});

const gateways = createRoute({
  getParentRoute: () => shell,
  path: "/gateways",
  component: lazyRouteComponent(() => import("./pages/gateways/GatewaysPage"), "GatewaysPage"),
  validateSearch: (search): GatewaysSearch => ({ site: text(search.site) }),
});

const discoveries = createRoute({
  getParentRoute: () => shell,
  path: "/discoveries",
  component: lazyRouteComponent(() => import("./pages/discoveries/DiscoveriesPage"), "DiscoveriesPage"),
  validateSearch: (search): DiscoveriesSearch => ({ dismissed: search.dismissed === true || undefined }),
});

const rules = createRoute({
  getParentRoute: () => shell,
  path: "/rules",
  component: lazyRouteComponent(() => import("./pages/rules/RulesPage"), "RulesPage"),
  validateSearch: (search): RulesSearch => ({ add: search.add === true || undefined }),
});

const rule = createRoute({
  getParentRoute: () => shell,
  path: "/rules/$rule",
  component: lazyRouteComponent(() => import("./pages/rules/RulePage"), "RulePage"),
  validateSearch: (search): RuleSearch => ({ view: viewOf(search.view) }),
});

const workflows = createRoute({
  getParentRoute: () => shell,
  path: "/workflows",
  component: lazyRouteComponent(() => import("./pages/workflows/WorkflowsPage"), "WorkflowsPage"),
  validateSearch: (search): WorkflowsSearch => ({ add: search.add === true || undefined }),
});

const workflow = createRoute({
  getParentRoute: () => shell,
  path: "/workflows/$workflow",
  component: lazyRouteComponent(() => import("./pages/workflows/WorkflowPage"), "WorkflowPage"),
  validateSearch: (search): WorkflowSearch => ({ view: workflowViews.viewOf(search.view), version: text(search.version) }),
});

const instances = createRoute({
  getParentRoute: () => shell,
  path: "/instances",
  component: lazyRouteComponent(() => import("./pages/instances/InstancesPage"), "InstancesPage"),
  validateSearch: (search): Wanted => ({ workflow: text(search.workflow), status: statusOf(search.status), device: text(search.device) }),
});

const instance = createRoute({
  getParentRoute: () => shell,
  path: "/instances/$instance",
  component: lazyRouteComponent(() => import("./pages/instances/InstancePage"), "InstancePage"),
});

const pages = [fleet, device, alarms, rules, rule, workflows, workflow, instances, instance, groups, group, types, type, gateways, discoveries, deadLetters];

export const router = createRouter({
  routeTree: root.addChildren([login, shell.addChildren(pages)]),
  defaultPreload: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
