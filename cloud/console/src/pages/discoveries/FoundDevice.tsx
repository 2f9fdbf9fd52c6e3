import { Button, Group, Select, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { approveDiscoveryMutation, dismissDiscoveryMutation, listSitesOptions } from "../../api/@tanstack/react-query.gen";
import type { DiscoveryOut } from "../../api/types.gen";
import { ProblemNote } from "../../components/ProblemNote";
import { Ago } from "../../components/Time";
import styles from "./FoundDevice.module.css";

type FoundDeviceProps = { found: DiscoveryOut; columns: number; mayChange: boolean };

/** One found device: what it says of itself, and what to do about it. */
export function FoundDevice({ found, columns, mayChange }: FoundDeviceProps) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [isApproving, setIsApproving] = useState(false);
  const dismiss = useMutation({
    ...dismissDiscoveryMutation(),
    onSuccess: () => client.invalidateQueries({ queryKey: [{ _id: "listDiscoveries" }] }),
  });
  const says = [found.type, found.board, found.firmware, ...found.capabilities].filter(Boolean);
  return (
    <>
      <tr data-found={found.device}>
        <td>
          <b>{found.device}</b>
          <div className="narrow-only dim small">{says.join(" · ")}</div>
        </td>
        <td className="wide-only">{says.join(" · ") || <span className="dim">–</span>}</td>
        <td className="wide-only">
          {found.gateway} <span className="dim">{found.adapter}</span>
        </td>
        <td className="wide-only dim">
          <Ago ts={found.last_seen} />
        </td>
        <td>
          {mayChange && (
            <Group gap={6} justify="flex-end" wrap="nowrap">
              <Button size="compact-xs" aria-expanded={isApproving} onClick={() => setIsApproving(!isApproving)}>
                {t("discovery.approve")}
              </Button>
              {found.dismissed === null && (
                <Button
                  size="compact-xs"
                  variant="default"
                  loading={dismiss.isPending}
                  onClick={() => dismiss.mutate({ path: { device_id: found.device } })}
                >
                  {t("discovery.dismiss")}
                </Button>
              )}
            </Group>
          )}
        </td>
      </tr>
      {(isApproving || dismiss.error) && (
        <tr>
          <td colSpan={columns}>
            <ProblemNote error={dismiss.error} />
            {isApproving && <Approval found={found} />}
          </td>
        </tr>
      )}
    </>
  );
}

function Approval({ found }: { found: DiscoveryOut }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const sites = useQuery(listSitesOptions());
  const [name, setName] = useState("");
  const [site, setSite] = useState(found.site);
  const approve = useMutation({
    ...approveDiscoveryMutation(),
    onSuccess: () => client.invalidateQueries({ queryKey: [{ _id: "listDiscoveries" }] }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    approve.mutate({ path: { device_id: found.device }, body: { site, ...(name.trim() && { name: name.trim() }) } });
  };
  return (
    <form className={styles.approval} onSubmit={submit} aria-label={t("discovery.approveDevice", { device: found.device })}>
      <TextInput
        size="xs"
        label={t("device.name")}
        placeholder={t("command.field.optional")}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Select
        size="xs"
        label={t("device.site")}
        allowDeselect={false}
        value={site}
        onChange={(wanted) => setSite(wanted ?? found.site)}
        data={sites.data?.items.map((one) => ({ value: one.id, label: one.name || one.id })) ?? [found.site]}
      />
      <Button type="submit" size="xs" loading={approve.isPending}>
        {t("discovery.register")}
      </Button>
      <div className={styles.problem}>
        <ProblemNote error={approve.error} />
      </div>
    </form>
  );
}
