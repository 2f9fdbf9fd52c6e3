import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { listCommandsInfiniteOptions, sendCommandMutation } from "../../api/@tanstack/react-query.gen";
import type { CommandOut } from "../../api/types.gen";
import { CommandForm } from "../../components/CommandForm";
import { Empty } from "../../components/Empty";
import { ProblemNote } from "../../components/ProblemNote";
import { More } from "../../components/Rows";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import styles from "./Commands.module.css";
import { LifeCycle } from "./LifeCycle";

const PAGE = 10;

/** Sending commands to a device, and what became of those that were sent. */
export function Commands({ device, type, metrics }: { device: string; type?: string; metrics: string[] }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const mayChange = useMayChange();
  const send = useMutation({
    ...sendCommandMutation(),
    onSuccess: () => client.invalidateQueries({ queryKey: [{ _id: "listCommands" }] }),
  });
  const commands = useInfiniteQuery({
    ...listCommandsInfiniteOptions({ path: { device_id: device }, query: { limit: PAGE } }),
    initialPageParam: { path: { device_id: device } },
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = commands.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="card" aria-labelledby="commands">
      <h2 id="commands">{t("command.title")}</h2>
      {mayChange ? (
        <CommandForm type={type} metrics={metrics} sending={send} onSend={(body) => send.mutate({ path: { device_id: device }, body })} />
      ) : (
        <p className="body dim">{t("command.viewer")}</p>
      )}
      <ProblemNote error={commands.error} onRetry={commands.refetch} />
      {commands.isSuccess && items.length === 0 && <Empty title={t("command.empty")} />}
      <ul className={styles.list}>
        {items.map((command) => (
          <Command key={command.id} command={command} />
        ))}
      </ul>
      <More query={commands} />
    </section>
  );
}

function Command({ command }: { command: CommandOut }) {
  const parameters = Object.entries(command.parameters).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return (
    <li className={styles.command} data-command={command.type} data-status={command.status}>
      <div className={styles.line}>
        <b className={styles.type}>{command.type}</b>
        <span className="dim small">
          <Moment ts={command.created} />
        </span>
      </div>
      {parameters.length > 0 && <div className="mono dim">{parameters.join("  ")}</div>}
      <LifeCycle status={command.status} />
      {command.error && <div className={styles.error}>{command.error}</div>}
      {command.status === "succeeded" && command.result && (
        <div className={`mono ${styles.result}`}>{JSON.stringify(command.result)}</div>
      )}
    </li>
  );
}
