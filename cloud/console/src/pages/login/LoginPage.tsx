import { Loader } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Navigate, useNavigate } from "@tanstack/react-router";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { logInMutation, showSessionOptions, showSessionQueryKey } from "../../api/@tanstack/react-query.gen";
import { ProblemNote } from "../../components/ProblemNote";
import { LanguageSwitch } from "../../components/Shell";
import { useTitle } from "../../components/useTitle";
import { isLoggedOut } from "../../problems";
import styles from "./LoginPage.module.css";

/** Uses a log-in link up; without one, says how to get one. */
export function LoginPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const client = useQueryClient();
  const { mutate, error, isPending, isError } = useMutation({
    ...logInMutation(),
    onSuccess: async (session) => {
      client.setQueryData(showSessionQueryKey(), session);
      await navigate({ to: "/", replace: true });
    },
  });
  const hasLink = window.location.hash.length > 1;
  const session = useQuery({ ...showSessionOptions(), enabled: !hasLink && !isPending && !isError });
  useTitle(t("login.title"));

  useEffect(() => {
    const logIn = () => {
      const secret = window.location.hash.slice(1);
      if (secret === "") return;
      // Out of the address and the history at once, and used up by one attempt only.
      window.history.replaceState(window.history.state, "", window.location.pathname);
      mutate({ body: { secret } });
    };
    // A page that the browser prepares in the background must not use the link up.
    if ((document as { prerendering?: boolean }).prerendering) document.addEventListener("prerenderingchange", logIn, { once: true });
    else logIn();
    // Another link that is pasted into this page changes no more than what follows the #.
    window.addEventListener("hashchange", logIn);
    return () => window.removeEventListener("hashchange", logIn);
  }, [mutate]);

  if (session.isSuccess) return <Navigate to="/" replace />;
  return (
    <main className={styles.page}>
      <div className={styles.language}>
        <LanguageSwitch />
      </div>
      <div className={`card ${styles.card}`}>
        <img src="/icon.svg" alt="" width="40" height="40" />
        {isPending || hasLink || session.isLoading ? (
          <>
            <h1>{t("login.busy")}</h1>
            <Loader size="sm" />
          </>
        ) : (
          <>
            <h1>{isError && isLoggedOut(error) ? t("login.spent") : t("login.title")}</h1>
            {isError && !isLoggedOut(error) && <ProblemNote error={error} />}
            <p>{isError && isLoggedOut(error) ? t("login.spentWhy") : t("login.how")}</p>
            <p className="dim">{t("login.another")}</p>
            <pre className={styles.command}>fieldloom cloud login-link --data DIR</pre>
            <p className="dim small">{t("login.demo")}</p>
          </>
        )}
      </div>
    </main>
  );
}
