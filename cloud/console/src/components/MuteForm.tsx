import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { muteMutation } from "../api/@tanstack/react-query.gen";
import styles from "./AlarmDetails.module.css";
import { ProblemNote } from "./ProblemNote";
import { Moment } from "./Time";

const MINUTES = { "30m": 30, "2h": 120, "8h": 480 } as const;

type Length = keyof typeof MINUTES;

/** Mutes a device for a time: its alarms are recorded, and escalate to nobody. */
export function MuteForm({ device }: { device: string }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [length, setLength] = useState<Length>("30m");
  const [reason, setReason] = useState("");
  const mute = useMutation({
    ...muteMutation(),
    onSuccess: () => {
      setReason("");
      void client.invalidateQueries({ queryKey: [{ _id: "listMutes" }] });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const ends = new Date(Date.now() + MINUTES[length] * 60_000).toISOString();
    mute.mutate({ body: { device, ends, reason: reason.trim() } });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextInput
        size="xs"
        className={styles.text}
        label={t("mute.reason")}
        value={reason}
        onChange={(event) => setReason(event.currentTarget.value)}
      />
      <SegmentedControl
        size="xs"
        aria-label={t("mute.length")}
        value={length}
        onChange={(wanted) => setLength(wanted as Length)}
        data={Object.keys(MINUTES).map((one) => ({ value: one, label: t(`mute.for.${one as Length}`) }))}
      />
      <Button type="submit" size="xs" variant="default" disabled={reason.trim() === ""} loading={mute.isPending}>
        {t("mute.device", { device })}
      </Button>
      <div className={styles.problem}>
        <ProblemNote error={mute.error} />
        {mute.data && (
          <span role="status">
            {t("mute.until")} <Moment ts={mute.data.ends} />
          </span>
        )}
      </div>
    </form>
  );
}
