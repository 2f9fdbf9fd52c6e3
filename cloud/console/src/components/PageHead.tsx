import type { ReactNode } from "react";

/** The head of a page about one of many: the way back to all, its name, and what else is said or done there. */
export function PageHead({ back, name, nameClass, children }: { back: ReactNode; name: string; nameClass?: string; children?: ReactNode }) {
  return (
    <div className="bar">
      {back}
      <span className="dim" aria-hidden="true">
        /
      </span>
      <h1 className={nameClass}>{name}</h1>
      {children}
    </div>
  );
}
