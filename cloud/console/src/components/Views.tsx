import { Tabs } from "@mantine/core";
import type { ReactNode } from "react";
import styles from "./Page.module.css";

type ViewsProps<View extends string> = { views: readonly View[]; shown: View; nameOf: (view: View) => string; onLook: (view: View) => void; children: ReactNode };

/** What can be looked at of something, one at a time; `children` are panels of `Tabs`. */
export function Views<View extends string>({ views, shown, nameOf, onLook, children }: ViewsProps<View>) {
  const look = (wanted: string | null) => {
    const view = views.find((one) => one === wanted);
    if (view !== undefined) onLook(view);
  };
  return (
    <Tabs value={shown} onChange={look} keepMounted={false} color="var(--mantine-color-anchor)">
      <Tabs.List className={styles.tabs}>
        {views.map((one) => (
          <Tabs.Tab key={one} value={one}>
            {nameOf(one)}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {children}
    </Tabs>
  );
}
