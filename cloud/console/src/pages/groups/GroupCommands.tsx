import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { sendToGroupMutation } from "../../api/@tanstack/react-query.gen";
import type { GroupCommand } from "../../api/types.gen";
import { CommandForm } from "../../components/CommandForm";
import styles from "./GroupCommands.module.css";

type GroupCommandsProps = { group: string; type?: string; mayChange: boolean };

/** Sends a command to each device of a group, and tells at once which got none; a device's page tells how it went. */
export function GroupCommands({ group, type, mayChange }: GroupCommandsProps) {
  const { t } = useTranslation();
  const send = useMutation(sendToGroupMutation());
  return (
    <section className="card" aria-labelledby="commands">
      <h2 id="commands">{t("command.title")}</h2>
      {mayChange ? (
        <CommandForm type={type} metrics={[]} sending={send} onSend={(body) => send.mutate({ path: { group_id: group }, body })} />
      ) : (
        <p className="body dim">{t("command.viewer")}</p>
      )}
      {send.data && <Outcome items={send.data.items} />}
    </section>
  );
}

function Outcome({ items }: { items: GroupCommand["items"] }) {
  const { t } = useTranslation();
  const refused = items.filter((one) => one.command === null);
  return (
    <div className={styles.outcome} role="status">
      <b>{t("group.sent", { count: items.length - refused.length })}</b>
      {refused.length > 0 && <div className={styles.refused}>{t("group.refused", { count: refused.length })}</div>}
      <ul className={styles.list}>
        {items.map(({ device, errors }) => (
          <li key={device} data-sent={device}>
            <Link to="/devices/$device" params={{ device }} className="name">
              {device}
            </Link>
            {errors.map(({ path, reason }) => (
              <div key={path + reason} className={styles.refused}>
                <code>{path}</code>: {reason}
              </div>
            ))}
          </li>
        ))}
      </ul>
    </div>
  );
}
