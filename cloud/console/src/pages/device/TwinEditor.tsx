import { Button, Group, Textarea } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { patchTwinMutation, showTwinQueryKey } from "../../api/@tanstack/react-query.gen";
import { showTwin } from "../../api/sdk.gen";
import { ProblemNote } from "../../components/ProblemNote";
import { parsedObject } from "../../json";
import { problemOf } from "../../problems";
import { mergePatch, patched } from "./mergePatch";
import styles from "./TwinEditor.module.css";

const CHANGED_MEANWHILE = 412;

/** Changes what is wanted of a device, as JSON, if nobody else has changed it since it was read. */
export function TwinEditor({ device, onDone }: { device: string; onDone: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const path = { device_id: device };
  const read = useQuery({ queryKey: ["twin to edit", device], queryFn: () => toEdit(device), staleTime: Number.POSITIVE_INFINITY, gcTime: 0 });
  const [typed, setTyped] = useState<string>();
  const patch = useMutation({
    ...patchTwinMutation(),
    onSuccess: (twin) => {
      client.setQueryData(showTwinQueryKey({ path }), twin);
      onDone();
    },
  });
  const text = typed ?? (read.data ? JSON.stringify(read.data.wanted, null, 2) : "");
  const wanted = parsedObject(text);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!read.data || !wanted) return;
    patch.mutate({ path, body: { desired: mergePatch(read.data.wanted, wanted) }, headers: { "if-match": read.data.etag } });
  };
  const readAgain = () => {
    patch.reset();
    setTyped(undefined);
    void read.refetch();
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <Textarea
        label={t("twin.wanted")}
        description={t("twin.wantedHow")}
        size="xs"
        autosize
        minRows={4}
        maxRows={16}
        classNames={{ input: "mono" }}
        spellCheck={false}
        value={text}
        disabled={!read.data}
        error={read.data && !wanted && t("twin.noObject")}
        onChange={(event) => setTyped(event.currentTarget.value)}
      />
      <ProblemNote error={read.error ?? patch.error} onRetry={problemOf(patch.error)?.status === CHANGED_MEANWHILE ? readAgain : undefined} />
      <Group gap="xs">
        <Button type="submit" size="xs" loading={patch.isPending} disabled={!wanted}>
          {t("twin.save")}
        </Button>
        <Button size="xs" variant="default" onClick={onDone}>
          {t("form.cancel")}
        </Button>
      </Group>
    </form>
  );
}

/** Return what is wanted once all that waits is decided, and the ETag that stands for it. */
async function toEdit(device: string) {
  const { data, response } = await showTwin({ path: { device_id: device }, throwOnError: true });
  const wanted = data.pending.reduce((values, one) => patched(values, one.desired), data.desired);
  return { wanted, etag: response.headers.get("ETag") ?? undefined };
}
