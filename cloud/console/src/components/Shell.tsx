import { Menu, SegmentedControl, UnstyledButton } from "@mantine/core";
import { useDocumentVisibility } from "@mantine/hooks";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, Navigate, Outlet, useParams } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { logOutMutation, showSessionOptions } from "../api/@tanstack/react-query.gen";
import { chooseLanguage, LANGUAGES } from "../i18n";
import { useStream } from "../live/stream";
import { isLoggedOut } from "../problems";
import { AlarmsLink } from "./AlarmsLink";
import { LiveMark } from "./LiveMark";
import { ProblemNote } from "./ProblemNote";
import styles from "./Shell.module.css";

/** What all pages have in common, for somebody who is logged in. */
export function Shell() {
  const { t } = useTranslation();
  const session = useQuery({ ...showSessionOptions(), staleTime: Number.POSITIVE_INFINITY });
  const { device } = useParams({ strict: false });
  // A browser has six connections to an address for all of its tabs: one that nobody looks at gives its stream back.
  const isSeen = useDocumentVisibility() === "visible";
  const live = useStream(device, session.data !== undefined && isSeen);

  if (isLoggedOut(session.error)) return <Navigate to="/login" replace />;
  return (
    <>
      <a className={styles.skip} href="#main">
        {t("shell.skip")}
      </a>
      <header className={styles.header}>
        <div className={styles.inside}>
          <Link to="/" className={styles.brand} aria-label="Fieldloom">
            <img src="/icon.svg" alt="" width="24" height="24" />
            <span>Fieldloom</span>
          </Link>
          <nav className={styles.nav} aria-label={t("shell.navigation")}>
            <Link to="/" activeOptions={{ exact: true, includeSearch: false }}>
              {t("fleet.title")}
            </Link>
            <AlarmsLink isLoggedIn={session.data !== undefined} />
            <Link to="/rules" activeOptions={{ includeSearch: false }}>
              {t("rule.title")}
            </Link>
            <Link to="/workflows" activeOptions={{ includeSearch: false }}>
              {t("workflow.title")}
            </Link>
            <Link to="/groups" activeOptions={{ includeSearch: false }}>
              {t("group.title")}
            </Link>
            <Link to="/types" activeOptions={{ includeSearch: false }}>
              {t("type.title")}
            </Link>
            <Link to="/gateways" activeOptions={{ includeSearch: false }}>
              {t("gateway.title")}
            </Link>
            <Link to="/discoveries" activeOptions={{ includeSearch: false }}>
              {t("discovery.title")}
            </Link>
            <Link to="/dead-letters" activeOptions={{ includeSearch: false }}>
              {t("deadLetters.title")}
            </Link>
          </nav>
          <div className={styles.end}>
            <LiveMark state={live} />
            <LanguageSwitch />
            {session.data && <Account role={session.data.role} />}
          </div>
        </div>
      </header>
      <main id="main" className="page" tabIndex={-1}>
        {session.data && <Outlet />}
        {!session.data && <ProblemNote error={session.error} onRetry={session.refetch} />}
      </main>
    </>
  );
}

export function LanguageSwitch() {
  const { t, i18n } = useTranslation();
  return (
    <SegmentedControl
      size="xs"
      aria-label={t("shell.language")}
      value={i18n.language}
      onChange={chooseLanguage}
      data={LANGUAGES.map(({ id, name }) => ({ value: id, label: <span lang={id}>{name}</span> }))}
    />
  );
}

function Account({ role }: { role: "viewer" | "operator" | "admin" }) {
  const { t } = useTranslation();
  // A new document: nothing that this one has read is left in memory.
  const logOut = useMutation({ ...logOutMutation(), onSuccess: () => window.location.assign("/login") });
  return (
    <Menu position="bottom-end" width={180} keepMounted={false}>
      <Menu.Target>
        <UnstyledButton className={styles.account}>{t(`role.${role}`)}</UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => logOut.mutate({})}>{t("shell.logOut")}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
