import { Button, Skeleton, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { acknowledgeAlarmMutation, clearAlarmMutation, showAlarmOptions } from "../api/@tanstack/react-query.gen";
import type { AlarmOut } from "../api/types.gen";
import styles from "./AlarmDetails.module.css";
import { AlarmHistory } from "./AlarmHistory";
import { MuteForm } from "./MuteForm";
import links from "./Page.module.css";
import { ProblemNote } from "./ProblemNote";

/** The history of an alarm, and what can be done about it. */
export function AlarmDetails({ alarm, mayChange }: { alarm: AlarmOut; mayChange: boolean }) {
  const { t } = useTranslation();
  const whole = useQuery(showAlarmOptions({ path: { alarm_id: alarm.id } }));
  const isOpen = alarm.state === "active" || alarm.state === "acknowledged";
  return (
    <div className={styles.details}>
      <section aria-label={t("alarm.history")}>
        <ProblemNote error={whole.error} onRetry={whole.refetch} />
        {whole.isPending && <Skeleton height={14} width="60%" />}
        <AlarmHistory changes={whole.data?.history ?? []} />
        {alarm.rule && (
          <p className="dim small">
            {t("alarm.rule")}{" "}
            <Link to="/rules/$rule" params={{ rule: alarm.rule }} className={links.inText}>
              {alarm.rule}
            </Link>
          </p>
        )}
      </section>
      {mayChange && isOpen && (
        <div className={styles.forms}>
          <Answer alarm={alarm} />
          <MuteForm device={alarm.device} />
        </div>
      )}
    </div>
  );
}

/** Says that somebody cares, or that it is over. */
function Answer({ alarm }: { alarm: AlarmOut }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [note, setNote] = useState("");
  const changed = {
    onSuccess: () => {
      setNote("");
      for (const one of ["listAlarms", "showAlarm", "countAlarms"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
    },
  };
  const acknowledge = useMutation({ ...acknowledgeAlarmMutation(), ...changed });
  const clear = useMutation({ ...clearAlarmMutation(), ...changed });
  const asked = { path: { alarm_id: alarm.id }, body: { note: note.trim() } };
  return (
    <form className={styles.form} onSubmit={(event) => event.preventDefault()}>
      <TextInput
        size="xs"
        className={styles.text}
        label={t("alarm.note")}
        placeholder={t("command.field.optional")}
        value={note}
        onChange={(event) => setNote(event.currentTarget.value)}
      />
      {alarm.state === "active" && (
        <Button size="xs" loading={acknowledge.isPending} onClick={() => acknowledge.mutate(asked)}>
          {t("alarm.acknowledge")}
        </Button>
      )}
      <Button size="xs" variant="default" loading={clear.isPending} onClick={() => clear.mutate(asked)}>
        {t("alarm.clear")}
      </Button>
      <div className={styles.problem}>
        <ProblemNote error={acknowledge.error ?? clear.error} />
      </div>
    </form>
  );
}
