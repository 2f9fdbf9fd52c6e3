import { createRootRoute, createRoute, createRouter, Outlet } from "@tanstack/react-router";
import { NotFound } from "./components/NotFound";
import { Shell } from "./components/Shell";
import { DeadLettersPage } from "./pages/dead-letters/DeadLettersPage";
import { DevicePage } from "./pages/device/DevicePage";
import { type Range, rangeOf } from "./pages/device/ranges";
import { FleetPage } from "./pages/fleet/FleetPage";
import { LoginPage } from "./pages/login/LoginPage";

// What of a page's state is in its address.
type FleetSearch = { q?: string; status?: string };
type DeviceSearch = { range?: Range; view?: "table" };
type DeadLettersSearch = { device?: string };

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

export const router = createRouter({
  routeTree: root.addChildren([login, shell.addChildren([fleet, device, deadLetters])]),
  defaultPreload: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
