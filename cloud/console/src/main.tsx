import "@fontsource-variable/inter/wght.css";
import "@mantine/core/styles.css";
import "uplot/dist/uPlot.min.css";
import "./theme.css";
import { MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import "./i18n";
import { queries } from "./queries";
import { router } from "./router";

// Mantine would write its variables and classes as inline styles, which the content security policy refuses; they are
// in its style sheet, and ours are in theme.css.
createRoot(document.getElementById("root")!).render(
  <MantineProvider
    defaultColorScheme="auto"
    withCssVariables={false}
    withGlobalClasses={false}
    theme={{ cursorType: "pointer", defaultRadius: "md" }}
  >
    <QueryClientProvider client={queries}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </MantineProvider>,
);
