import { Autocomplete, Button, Checkbox, JsonInput, Select, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { retryInstanceMutation, showWorkflowGraphOptions, signalInstanceMutation, terminateInstanceMutation } from "../../api/@tanstack/react-query.gen";
import type { InstanceOut } from "../../api/types.gen";
import { ProblemNote } from "../../components/ProblemNote";
import { parsedObject } from "../../json";
import own from "./Instances.module.css";
import { isOver } from "./Status";

/** What somebody can do about an instance: tell it of an event, end it, or begin again where it failed. */
export function Actions({ instance }: { instance: InstanceOut }) {
  if (isOver(instance.status)) return <Retry instance={instance} />;
  return (
    <>
      {(instance.awaits.length > 0 || instance.gateway !== null) && <Signal instance={instance} />}
      <Terminate instance={instance} />
    </>
  );
}

/** Have all read again that shows an instance. */
function useReadAgain() {
  const client = useQueryClient();
  return () => {
    for (const one of ["showInstance", "listInstances", "showWorkflowGraph"]) void client.invalidateQueries({ queryKey: [{ _id: one }] });
  };
}

function Signal({ instance: { id, awaits } }: { instance: InstanceOut }) {
  const { t } = useTranslation();
  const types = [...new Set(awaits.map((one) => one.type))];
  const [type, setType] = useState(types[0] ?? "");
  const [data, setData] = useState("{}");
  const signal = useMutation({ ...signalInstanceMutation(), onSuccess: useReadAgain() });
  const parsed = parsedObject(data);
  const submit = () => signal.mutate({ path: { instance_id: id }, body: { type, data: parsed } });
  return (
    <Form name={t("instance.signal")} meaning={t("instance.signalMeaning")} mayBe={parsed !== undefined && type !== ""} sending={signal} onSubmit={submit}>
      <Autocomplete size="xs" label={t("instance.event")} value={type} data={types} onChange={setType} />
      <JsonInput size="xs" label={t("instance.data")} autosize minRows={2} value={data} onChange={setData} />
    </Form>
  );
}

function Terminate({ instance: { id } }: { instance: InstanceOut }) {
  const { t } = useTranslation();
  const [reason, setReason] = useState("");
  const [undo, setUndo] = useState(true);
  const terminate = useMutation({ ...terminateInstanceMutation(), onSuccess: useReadAgain() });
  const submit = () => terminate.mutate({ path: { instance_id: id }, body: { reason: reason.trim(), undo } });
  return (
    <Form name={t("instance.terminate")} mayBe={reason.trim() !== ""} sending={terminate} onSubmit={submit}>
      <TextInput size="xs" label={t("instance.reason")} value={reason} onChange={(event) => setReason(event.currentTarget.value)} />
      <Checkbox size="xs" color="var(--mantine-primary-color-filled)" label={t("instance.undo")} checked={undo} onChange={(event) => setUndo(event.currentTarget.checked)} />
    </Form>
  );
}

function Retry({ instance: { id, workflow, version, failure } }: { instance: InstanceOut }) {
  const { t } = useTranslation();
  const graph = useQuery(showWorkflowGraphOptions({ path: { workflow_id: workflow }, query: { version } }));
  const states = graph.data?.nodes.filter((node) => node.parent === null).map((node) => node.name) ?? [];
  const [state, setState] = useState(failure?.state ?? null);
  const [variables, setVariables] = useState("{}");
  const retry = useMutation({ ...retryInstanceMutation(), onSuccess: useReadAgain() });
  const parsed = parsedObject(variables);
  const submit = () => retry.mutate({ path: { instance_id: id }, body: { state, variables: parsed } });
  return (
    <Form name={t("instance.retry")} meaning={t("instance.retryMeaning")} mayBe={parsed !== undefined && state !== null} sending={retry} onSubmit={submit}>
      <Select size="xs" label={t("instance.fromState")} value={state} data={states} onChange={setState} />
      <JsonInput size="xs" label={t("instance.otherVariables")} autosize minRows={2} value={variables} onChange={setVariables} />
    </Form>
  );
}

type FormProps = {
  name: string;
  meaning?: string;
  mayBe: boolean;
  sending: { isPending: boolean; error: unknown };
  onSubmit: () => void;
  children: ReactNode;
};

function Form({ name, meaning, mayBe, sending, onSubmit, children }: FormProps) {
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSubmit();
  };
  return (
    <section className="card" aria-label={name}>
      <h2>{name}</h2>
      <form className={own.form} onSubmit={submit}>
        {meaning && <p className="dim small">{meaning}</p>}
        {children}
        <ProblemNote error={sending.error} />
        <Button type="submit" size="xs" disabled={!mayBe} loading={sending.isPending}>
          {name}
        </Button>
      </form>
    </section>
  );
}
