import { Button, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { listTypesOptions } from "../api/@tanstack/react-query.gen";
import type { CommandIn } from "../api/types.gen";
import { BUILT_IN, type BuiltIn, fieldsOf, parametersOf } from "./commandFields";
import styles from "./CommandForm.module.css";
import { FieldInput } from "./FieldInput";
import { ProblemNote } from "./ProblemNote";

const MOST_TYPES = 500;

/** What becomes of what a form sends. */
type Sending = { error: unknown; isPending: boolean; reset: () => void };

type CommandFormProps = { type?: string; metrics: string[]; sending: Sending; onSend: (command: CommandIn) => void };

/** Sends one of the built-in commands, or one of a device type by its schema. */
export function CommandForm({ type, metrics, sending, onSend }: CommandFormProps) {
  const { t } = useTranslation();
  const [chosen, setChosen] = useState<string>("read");
  const [typed, setTyped] = useState<Record<string, string>>({});
  // The list, since a device may have a type that nobody has described, and to ask for that one would be refused.
  const types = useQuery({ ...listTypesOptions({ query: { limit: MOST_TYPES } }), enabled: Boolean(type) });
  const own = types.data?.items.find((one) => one.id === type)?.definition.commands ?? {};
  const fields = own[chosen] ? fieldsOf(own[chosen]) : (BUILT_IN[chosen as BuiltIn] ?? []);
  const builtIn = (Object.keys(BUILT_IN) as BuiltIn[]).filter((one) => !own[one]).map((one) => ({ value: one, label: t(`command.type.${one}`) }));
  const ofType = Object.entries(own).map(([name, { description }]) => ({ value: name, label: description || name }));

  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSend({ type: chosen, parameters: parametersOf(fields, typed) });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <Select
        label={t("command.type.label")}
        size="xs"
        allowDeselect={false}
        value={chosen}
        onChange={(wanted) => {
          setChosen(wanted ?? "read");
          setTyped({});
          sending.reset();
        }}
        data={ofType.length > 0 ? [{ group: type ?? "", items: ofType }, { group: t("command.builtIn"), items: builtIn }] : builtIn}
      />
      {fields.map((field) => (
        <FieldInput
          key={`${chosen} ${field.name}`}
          field={field}
          metrics={metrics}
          value={typed[field.name] ?? ""}
          onChange={(value) => setTyped((had) => ({ ...had, [field.name]: value }))}
        />
      ))}
      <ProblemNote error={sending.error} />
      <Button type="submit" size="xs" loading={sending.isPending}>
        {t("command.send")}
      </Button>
    </form>
  );
}
