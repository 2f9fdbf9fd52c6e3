import { Alert, Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { problemOf } from "../problems";

/** What the cloud refused, in its own words, with the fields at fault. Shows nothing when nothing went wrong. */
export function ProblemNote({ error, onRetry }: { error: unknown; onRetry?: () => unknown }) {
  const { t } = useTranslation();
  const problem = problemOf(error);
  if (problem === null) return null;
  return (
    <Alert color="red" variant="light" role="alert" title={problem.title || t("problem.unreachable")} p="sm">
      {problem.detail}
      {problem.errors && (
        <ul>
          {problem.errors.map(({ path, reason }) => (
            <li key={path + reason}>
              <code>{path}</code>: {reason}
            </li>
          ))}
        </ul>
      )}
      {onRetry && (
        <div>
          <Button size="compact-sm" variant="default" mt={6} onClick={() => void onRetry()}>
            {t("problem.retry")}
          </Button>
        </div>
      )}
    </Alert>
  );
}
