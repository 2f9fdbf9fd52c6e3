import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { holdActuatorMutation, releaseHoldMutation, showHoldsOptions } from "../../api/@tanstack/react-query.gen";
import type { ActuatorOut, HoldOut, SetBy } from "../../api/types.gen";
import { BUILT_IN, parametersOf } from "../../components/commandFields";
import { ProblemNote } from "../../components/ProblemNote";
import { Moment } from "../../components/Time";
import { useMayChange } from "../../components/useMayChange";
import styles from "./Holds.module.css";

const HOURS = { "1h": 1, "8h": 8, ever: undefined } as const;

type Length = keyof typeof HOURS;

/** Who holds the actuators of a device, who waits behind him and who has set them last; holding one, and releasing it. */
export function Holds({ device }: { device: string }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const mayChange = useMayChange();
  const path = { device_id: device };
  const holds = useQuery(showHoldsOptions({ path }));
  const onSuccess = () => client.invalidateQueries({ queryKey: [{ _id: "listCommands" }] });
  const release = useMutation({ ...releaseHoldMutation(), onSuccess });
  return (
    <section className="card" aria-labelledby="holds">
      <h2 id="holds">{t("hold.title")}</h2>
      <ProblemNote error={holds.error ?? release.error} onRetry={holds.error ? holds.refetch : undefined} />
      {holds.data?.items.every((one) => one.holds.length === 0) && <p className="body dim">{t("hold.none")}</p>}
      <ul className={styles.list}>
        {holds.data?.items.map((one) => (
          <Actuator
            key={one.actuator}
            told={one}
            onRelease={
              mayChange ? ({ priority }) => release.mutate({ path: { ...path, actuator: one.actuator }, query: { priority } }) : undefined
            }
          />
        ))}
      </ul>
      {mayChange && <HoldForm device={device} onSuccess={onSuccess} />}
    </section>
  );
}

function Actuator({ told, onRelease }: { told: ActuatorOut; onRelease?: (hold: HoldOut) => void }) {
  const { t } = useTranslation();
  return (
    <li className={styles.actuator} data-actuator={told.actuator}>
      <b>{told.actuator}</b>
      <ol className={styles.list}>
        {told.holds.map((hold, place) => (
          <li key={hold.priority} className={styles.hold} data-priority={hold.priority}>
            <div className={styles.words}>
              <span>
                {place === 0 ? t("hold.acts") : t("hold.waits")}: <b>{hold.owner}</b> <span className="dim">{t(`hold.priority.${hold.priority}`)}</span>
              </span>
              <span className="mono">{JSON.stringify(hold.parameters.value ?? hold.parameters)}</span>
              {hold.reason && <span>{hold.reason}</span>}
              <span className="dim small">
                {hold.expires === null ? (
                  t("hold.untilReleased")
                ) : (
                  <>
                    {t("hold.until")} <Moment ts={hold.expires} />
                  </>
                )}
              </span>
            </div>
            {onRelease && (
              <Button
                size="compact-xs"
                variant="default"
                aria-label={t("hold.releaseOf", { actuator: told.actuator, owner: hold.owner })}
                onClick={() => onRelease(hold)}
              >
                {t("hold.release")}
              </Button>
            )}
          </li>
        ))}
      </ol>
      {told.set_by && <LastSet by={told.set_by} />}
    </li>
  );
}

/** The command that the device has executed last on an actuator, whether it holds or not. */
function LastSet({ by: { owner, priority, parameters, at } }: { by: SetBy }) {
  const { t } = useTranslation();
  return (
    <div className={styles.words} data-set-by={owner}>
      <span>
        {t("hold.setBy")}: <b>{owner}</b> <span className="dim">{t(`hold.priority.${priority}`)}</span>
      </span>
      <span className="mono">{JSON.stringify(parameters.value ?? parameters)}</span>
      <span className="dim small">
        <Moment ts={at} />
      </span>
    </div>
  );
}

function HoldForm({ device, onSuccess }: { device: string; onSuccess: () => void }) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [length, setLength] = useState<Length>("1h");
  const hold = useMutation({
    ...holdActuatorMutation(),
    onSuccess: () => {
      setTyped({});
      onSuccess();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const hours = HOURS[length];
    const expires = hours === undefined ? null : new Date(Date.now() + hours * 3_600_000).toISOString();
    const parameters = parametersOf(BUILT_IN.write, typed);
    hold.mutate({ path: { device_id: device }, body: { parameters, reason: typed.reason?.trim() ?? "", expires } });
  };
  const field = (name: string) => ({
    size: "xs",
    value: typed[name] ?? "",
    onChange: (event: { currentTarget: { value: string } }) => {
      const { value } = event.currentTarget;
      setTyped((had) => ({ ...had, [name]: value }));
    },
  });
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextInput {...field("name")} label={t("hold.actuator")} required withAsterisk={false} />
      <TextInput {...field("value")} label={t("hold.value")} required withAsterisk={false} placeholder="true" />
      <TextInput {...field("reason")} label={t("hold.reason")} maxLength={200} />
      <SegmentedControl
        size="xs"
        aria-label={t("hold.length")}
        value={length}
        onChange={(wanted) => setLength(wanted as Length)}
        data={Object.keys(HOURS).map((one) => ({ value: one, label: t(`hold.for.${one as Length}`) }))}
      />
      <ProblemNote error={hold.error} />
      <Button type="submit" size="xs" variant="default" loading={hold.isPending}>
        {t("hold.hold")}
      </Button>
    </form>
  );
}
