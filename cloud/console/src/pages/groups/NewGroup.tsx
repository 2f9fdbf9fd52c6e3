import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { addGroupMutation } from "../../api/@tanstack/react-query.gen";
import styles from "../../components/CommandForm.module.css";
import { ProblemNote } from "../../components/ProblemNote";
import { type Found, FOUND_BY, queryOf } from "./query";

const PLACEHOLDER: Partial<Record<keyof Found, string>> = { status: "online", tag: "floor:2" };

/** Makes a group that lists its devices, or one of a search; a search that came with the address is filled in. */
export function NewGroup({ found }: { found: Found }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [kind, setKind] = useState(Object.values(found).some(Boolean) ? "found" : "listed");
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [typed, setTyped] = useState<Found>(found);
  const add = useMutation({
    ...addGroupMutation(),
    onSuccess: (group) => {
      void client.invalidateQueries({ queryKey: [{ _id: "listGroups" }] });
      void navigate({ to: "/groups/$group", params: { group: group.id } });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const query = kind === "found" ? { query: queryOf(typed) } : {};
    add.mutate({ body: { id: id.trim(), ...(name.trim() && { name: name.trim() }), ...query } });
  };
  return (
    <section className="card" aria-labelledby="new-group">
      <h2 id="new-group">{t("group.new")}</h2>
      <form className={styles.form} onSubmit={submit}>
        <TextInput size="xs" label={t("group.id")} description={t("group.idHow")} required withAsterisk={false} value={id} onChange={(event) => setId(event.currentTarget.value)} />
        <TextInput size="xs" label={t("device.name")} description={t("command.field.optional")} value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <SegmentedControl
          size="xs"
          aria-label={t("group.members")}
          value={kind}
          onChange={setKind}
          data={[
            { value: "listed", label: t("group.listed") },
            { value: "found", label: t("group.found") },
          ]}
        />
        {kind === "found" &&
          FOUND_BY.map((field) => (
            <TextInput
              key={field}
              size="xs"
              label={t(`group.by.${field}`)}
              placeholder={PLACEHOLDER[field]}
              value={typed[field] ?? ""}
              onChange={(event) => {
                const text = event.currentTarget.value;
                setTyped((had) => ({ ...had, [field]: text }));
              }}
            />
          ))}
        <ProblemNote error={add.error} />
        <Button type="submit" size="xs" loading={add.isPending}>
          {t("group.create")}
        </Button>
      </form>
    </section>
  );
}
