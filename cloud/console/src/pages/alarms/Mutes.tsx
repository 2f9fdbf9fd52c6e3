import { Button } from "@mantine/core";
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { listMutesInfiniteOptions, unmuteMutation } from "../../api/@tanstack/react-query.gen";
import type { MuteOut } from "../../api/types.gen";
import { ProblemNote } from "../../components/ProblemNote";
import { More } from "../../components/Rows";
import { Moment, useNow } from "../../components/Time";
import styles from "./Mutes.module.css";

const PAGE = 20;

/** What is muted now or will be. Shows nothing when nothing is. */
export function Mutes({ mayChange }: { mayChange: boolean }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const now = useNow(1000);
  const mutes = useInfiniteQuery({
    ...listMutesInfiniteOptions({ query: { limit: PAGE } }),
    initialPageParam: {},
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const unmute = useMutation({
    ...unmuteMutation(),
    onSettled: () => client.invalidateQueries({ queryKey: [{ _id: "listMutes" }] }),
  });
  const items = (mutes.data?.pages ?? []).flatMap((page) => page.items).filter((mute) => Date.parse(mute.ends) > now);
  if (mutes.error) return <ProblemNote error={mutes.error} onRetry={mutes.refetch} />;
  if (items.length === 0) return null;
  return (
    <section className={`card ${styles.mutes}`} aria-labelledby="mutes">
      <header>
        <h2 id="mutes">{t("mute.title")}</h2>
        <span className="dim">{t("mute.meaning")}</span>
      </header>
      <ProblemNote error={unmute.error} />
      <div className="scroll">
        <table className="grid">
          <tbody>
            {items.map((mute) => (
              <tr key={mute.id} data-mute={mute.id}>
                <td className={styles.reason}>
                  <Target mute={mute} />
                  <div className="narrow-only small">{mute.reason}</div>
                </td>
                <td>
                  {Date.parse(mute.starts) > now && (
                    <>
                      <Moment ts={mute.starts} /> …{" "}
                    </>
                  )}
                  {t("mute.until")} <Moment ts={mute.ends} />
                </td>
                <td className={`wide-only ${styles.reason}`}>{mute.reason}</td>
                <td className="wide-only dim">{t("alarm.by", { who: mute.by })}</td>
                {mayChange && (
                  <td className="num">
                    <Button
                      size="compact-xs"
                      variant="default"
                      loading={unmute.isPending && unmute.variables.path.mute_id === mute.id}
                      onClick={() => unmute.mutate({ path: { mute_id: mute.id } })}
                    >
                      {t("mute.end")}
                    </Button>
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <More query={mutes} />
    </section>
  );
}

function Target({ mute }: { mute: MuteOut }) {
  const { t } = useTranslation();
  if (mute.device) {
    return (
      <Link to="/devices/$device" params={{ device: mute.device }} className="name">
        {mute.device}
      </Link>
    );
  }
  if (mute.group) {
    return (
      <>
        {t("group.group")}{" "}
        <Link to="/groups/$group" params={{ group: mute.group }} className="name">
          {mute.group}
        </Link>
      </>
    );
  }
  return (
    <>
      {t("device.site")} <b>{mute.site}</b>
    </>
  );
}
