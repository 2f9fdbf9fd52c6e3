import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { removeGroupMutation, showGroupOptions } from "../../api/@tanstack/react-query.gen";
import styles from "../../components/Page.module.css";
import { PageHead } from "../../components/PageHead";
import { ProblemNote } from "../../components/ProblemNote";
import { useMayChange } from "../../components/useMayChange";
import { useTitle } from "../../components/useTitle";
import { GroupCommands } from "./GroupCommands";
import { Members } from "./Members";
import { shownQuery } from "./query";

const route = getRouteApi("/shell/groups/$group");

export function GroupPage() {
  const { t } = useTranslation();
  const { group: id } = route.useParams();
  const mayChange = useMayChange();
  const client = useQueryClient();
  const navigate = useNavigate();
  const remove = useMutation({
    ...removeGroupMutation(),
    onSuccess: async () => {
      await navigate({ to: "/groups" });
      await client.invalidateQueries({ queryKey: [{ _id: "listGroups" }] });
    },
  });
  // While it goes nothing of it is read any more: the stream tells that it is gone before the answer does.
  const isGoing = remove.isPending || remove.isSuccess;
  const group = useQuery({ ...showGroupOptions({ path: { group_id: id } }), enabled: !isGoing });
  useTitle(group.data?.name ?? id);

  if (!group.data) return <ProblemNote error={group.error} onRetry={group.refetch} />;
  const { name, query } = group.data;
  return (
    <>
      <PageHead
        back={
          <Link to="/groups" className={styles.back}>
            {t("group.title")}
          </Link>
        }
        name={name}
      >
        <span className="dim grow">{query ? <span className="mono">{shownQuery(query)}</span> : t("group.listed")}</span>
        <ProblemNote error={remove.error} />
        {mayChange && <Remove isGoing={isGoing} onSure={() => remove.mutate({ path: { group_id: id } })} />}
      </PageHead>
      {!isGoing && (
        <div className={styles.columns}>
          <Members group={id} isListed={query === null} mayChange={mayChange} />
          <div className={styles.side}>
            <GroupCommands group={id} type={typeof query?.type === "string" ? query.type : undefined} mayChange={mayChange} />
          </div>
        </div>
      )}
    </>
  );
}

type RemoveProps = { isGoing: boolean; onSure: () => void };

/** Asks once more, since a group that is gone does not come back. */
function Remove({ isGoing, onSure }: RemoveProps) {
  const { t } = useTranslation();
  const [isSure, setIsSure] = useState(false);
  return (
    <Button
      size="compact-sm"
      variant="default"
      loading={isGoing}
      onBlur={() => setIsSure(false)}
      onClick={() => (isSure ? onSure() : setIsSure(true))}
    >
      {isSure ? t("group.reallyRemove") : t("group.remove")}
    </Button>
  );
}
