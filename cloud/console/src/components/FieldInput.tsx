import { Autocomplete, JsonInput, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { listGatewaysOptions } from "../api/@tanstack/react-query.gen";
import { ALL, type BuiltInName, type Field } from "./commandFields";

type FieldInputProps = { field: Field; metrics?: string[]; value: string; onChange: (value: string) => void };

/** One field of a form that is made from what somebody has declared. */
export function FieldInput({ field, metrics, value, onChange }: FieldInputProps) {
  const { t } = useTranslation();
  const gateways = useQuery({ ...listGatewaysOptions(), enabled: field.kind === "gateway" });
  const builtIn = field.name === ALL ? t("command.field.all") : t(`command.field.${field.name as BuiltInName}`);
  const common = {
    size: "xs",
    label: field.label ?? builtIn,
    description: field.hint ?? (field.isOptional ? t("command.field.optional") : undefined),
    required: !field.isOptional,
    withAsterisk: false,
    value,
  } as const;
  if (field.kind === "metric") return <Autocomplete {...common} data={metrics} onChange={onChange} />;
  if (field.kind === "json") return <JsonInput {...common} autosize minRows={2} placeholder="{}" onChange={onChange} />;
  if (field.kind === "gateway" || field.kind === "choice") {
    const choices = field.choices ?? gateways.data?.items.map((one) => one.id) ?? [];
    return <Select {...common} data={choices} onChange={(wanted) => onChange(wanted ?? "")} />;
  }
  const isNumber = field.kind === "ms" || field.kind === "number";
  return (
    <TextInput
      {...common}
      inputMode={isNumber ? "decimal" : undefined}
      placeholder={PLACEHOLDER[field.kind]}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

const PLACEHOLDER: Partial<Record<Field["kind"], string>> = { ms: "1000", value: "true" };
