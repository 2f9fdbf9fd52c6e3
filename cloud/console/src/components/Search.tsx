import { CloseButton, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import { useTranslation } from "react-i18next";

const PAUSE_MS = 250;

type SearchProps = { q: string | undefined; label: string; onChange: (wanted: string | undefined) => void };

/** A text that a list is searched by, a moment after it was typed. */
export function Search({ q, label, onChange }: SearchProps) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState(q ?? "");
  const told = useDebouncedCallback((wanted: string) => onChange(wanted || undefined), PAUSE_MS);
  const type = (wanted: string) => {
    setTyped(wanted);
    told(wanted);
  };
  return (
    <TextInput
      size="xs"
      w={220}
      type="search"
      aria-label={label}
      placeholder={label}
      value={typed}
      onChange={(event) => type(event.currentTarget.value)}
      rightSection={typed && <CloseButton size="xs" aria-label={t("fleet.clear")} onClick={() => type("")} />}
    />
  );
}
