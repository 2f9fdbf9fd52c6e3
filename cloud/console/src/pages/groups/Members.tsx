import { Autocomplete, Button, CloseButton } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { addMemberMutation, listDevicesOptions, listMembersInfiniteOptions, removeMemberMutation } from "../../api/@tanstack/react-query.gen";
import { Empty } from "../../components/Empty";
import { Presence } from "../../components/Presence";
import { ProblemNote } from "../../components/ProblemNote";
import { More, RowsComing } from "../../components/Rows";
import styles from "./Members.module.css";

const PAGE = 50;
const SUGGESTED = 8;

type MembersProps = { group: string; isListed: boolean; mayChange: boolean };

/** Who is in a group now; where members are listed they can be added and taken out. */
export function Members({ group, isListed, mayChange }: MembersProps) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const members = useInfiniteQuery({
    ...listMembersInfiniteOptions({ path: { group_id: group }, query: { limit: PAGE } }),
    initialPageParam: { path: { group_id: group } },
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const onSuccess = () => client.invalidateQueries({ queryKey: [{ _id: "listMembers" }] });
  const remove = useMutation({ ...removeMemberMutation(), onSuccess });
  const items = members.data?.pages.flatMap((page) => page.items) ?? [];
  const isChanged = isListed && mayChange;
  return (
    <section className="card" aria-labelledby="members">
      <h2 id="members">{t("group.members")}</h2>
      {isChanged && <AddMember group={group} onAdded={onSuccess} />}
      <ProblemNote error={members.error ?? remove.error} onRetry={members.error ? members.refetch : undefined} />
      {members.isSuccess && items.length === 0 ? (
        <Empty title={isListed ? t("group.noMembers") : t("group.nobodyFound")} />
      ) : (
        <div className="scroll">
          <table className="grid">
            <thead>
              <tr>
                <th>{t("device.device")}</th>
                <th>{t("device.status")}</th>
                <th className="wide-only">{t("device.type")}</th>
                <th className="wide-only">{t("device.site")}</th>
                {isChanged && <th aria-label={t("group.takeOut")} />}
              </tr>
            </thead>
            <tbody>
              {members.isPending && <RowsComing columns={4} rows={4} />}
              {items.map((device) => (
                <tr key={device.id} data-device={device.id}>
                  <td>
                    <Link to="/devices/$device" params={{ device: device.id }} className="name">
                      {device.id}
                    </Link>
                    {device.name && <div className="dim small">{device.name}</div>}
                  </td>
                  <td>
                    <Presence status={device.status} />
                  </td>
                  <td className="wide-only">{device.type || <span className="dim">–</span>}</td>
                  <td className="wide-only">{device.site}</td>
                  {isChanged && (
                    <td className="num">
                      <CloseButton
                        size="sm"
                        aria-label={t("group.takeOutDevice", { device: device.id })}
                        onClick={() => remove.mutate({ path: { group_id: group, device_id: device.id } })}
                      />
                    </td>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <More query={members} />
    </section>
  );
}

function AddMember({ group, onAdded }: { group: string; onAdded: () => unknown }) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState("");
  const [q] = useDebouncedValue(typed.trim(), 250);
  const found = useQuery({ ...listDevicesOptions({ query: { q, limit: SUGGESTED } }), enabled: q !== "" });
  const add = useMutation({
    ...addMemberMutation(),
    onSuccess: () => {
      setTyped("");
      return onAdded();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (typed.trim()) add.mutate({ path: { group_id: group, device_id: typed.trim() } });
  };
  return (
    <form className={styles.add} onSubmit={submit}>
      <Autocomplete
        size="xs"
        className="grow"
        aria-label={t("group.addWhom")}
        placeholder={t("group.addWhom")}
        data={found.data?.items.map((one) => one.id) ?? []}
        filter={({ options }) => options}
        value={typed}
        onChange={setTyped}
      />
      <Button type="submit" size="xs" loading={add.isPending}>
        {t("group.add")}
      </Button>
      <div className={styles.problem}>
        <ProblemNote error={add.error} />
      </div>
    </form>
  );
}
