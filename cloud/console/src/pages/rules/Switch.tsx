import { Button } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { RuleShown } from "../../api/types.gen";
import { ProblemNote } from "../../components/ProblemNote";
import { useActivation } from "./useActivation";

type SwitchProps = { rule: RuleShown; isGoing: boolean; onRemove: () => void };

/** Takes a rule into the shadow or out of it, back to the version before, or away. */
export function Switch({ rule, isGoing, onRemove }: SwitchProps) {
  const { t } = useTranslation();
  const [isSure, setIsSure] = useState(false);
  const activation = useActivation(rule);
  const isActive = rule.mode === "active";
  const before = rule.versions[rule.versions.findIndex((one) => one.version === rule.version) - 1];
  return (
    <>
      <Button size="compact-sm" variant={isActive ? "default" : undefined} loading={activation.isPending} onClick={() => activation.put(rule.version, isActive ? "shadow" : "active")}>
        {isActive ? t("rule.toShadow") : t("rule.outOfShadow")}
      </Button>
      {before && (
        <Button size="compact-sm" variant="default" loading={activation.isPending} onClick={() => activation.put(before.version, rule.mode)}>
          {t("rule.back", { version: before.version })}
        </Button>
      )}
      <Button
        size="compact-sm"
        variant="default"
        loading={isGoing}
        onBlur={() => setIsSure(false)}
        onClick={() => (isSure ? onRemove() : setIsSure(true))}
      >
        {isSure ? t("group.reallyRemove") : t("rule.remove")}
      </Button>
      <ProblemNote error={activation.error} />
    </>
  );
}
