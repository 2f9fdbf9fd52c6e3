import { Autocomplete, Button, Select, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { listGatewaysOptions, sendCommandMutation } from "../../api/@tanstack/react-query.gen";
import { ProblemNote } from "../../components/ProblemNote";
import styles from "./CommandForm.module.css";
import { BUILT_IN, type CommandType, type Field, parametersOf, TYPES } from "./commands";

/** Sends one of the built-in commands. */
export function CommandForm({ device, metrics }: { device: string; metrics: string[] }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [type, setType] = useState<CommandType>("read");
  const [typed, setTyped] = useState<Record<string, string>>({});
  const send = useMutation({
    ...sendCommandMutation(),
    onSuccess: () => client.invalidateQueries({ queryKey: [{ _id: "listCommands" }] }),
  });
  const fields: readonly Field[] = BUILT_IN[type];

  const submit = (event: FormEvent) => {
    event.preventDefault();
    send.mutate({ path: { device_id: device }, body: { type, parameters: parametersOf(fields, typed) } });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <Select
        label={t("command.type.label")}
        size="xs"
        allowDeselect={false}
        value={type}
        onChange={(wanted) => {
          setType(wanted as CommandType);
          setTyped({});
          send.reset();
        }}
        data={TYPES.map((one) => ({ value: one, label: t(`command.type.${one}`) }))}
      />
      {fields.map((field) => (
        <Input
          key={`${type} ${field.name}`}
          field={field}
          metrics={metrics}
          value={typed[field.name] ?? ""}
          onChange={(value) => setTyped((had) => ({ ...had, [field.name]: value }))}
        />
      ))}
      <ProblemNote error={send.error} />
      <Button type="submit" size="xs" loading={send.isPending}>
        {t("command.send")}
      </Button>
    </form>
  );
}

type InputProps = { field: Field; metrics: string[]; value: string; onChange: (value: string) => void };

function Input({ field, metrics, value, onChange }: InputProps) {
  const { t } = useTranslation();
  const gateways = useQuery({ ...listGatewaysOptions(), enabled: field.kind === "gateway" });
  const common = {
    size: "xs",
    label: t(`command.field.${field.name}`),
    description: field.optional ? t("command.field.optional") : undefined,
    required: !field.optional,
    withAsterisk: false,
    value,
  } as const;
  if (field.kind === "metric") return <Autocomplete {...common} data={metrics} onChange={onChange} />;
  if (field.kind === "gateway") {
    return <Select {...common} data={gateways.data?.items.map((one) => one.id) ?? []} onChange={(wanted) => onChange(wanted ?? "")} />;
  }
  const isNumber = field.kind === "ms";
  return (
    <TextInput
      {...common}
      inputMode={isNumber ? "numeric" : undefined}
      placeholder={isNumber ? "1000" : "true"}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}
