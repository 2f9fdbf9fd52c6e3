import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";

/** A moment, as exact as it is known. */
export function Moment({ ts }: { ts: string }) {
  const { i18n } = useTranslation();
  const date = new Date(ts);
  const [opened] = useState(() => new Date());
  const today = date.toDateString() === opened.toDateString();
  const shown = date.toLocaleString(i18n.language, {
    ...(today ? {} : { month: "short", day: "numeric" }),
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  return (
    <time dateTime={ts} title={date.toLocaleString(i18n.language)} className="nowrap">
      {shown}
    </time>
  );
}

/** How long ago a moment was; goes on by itself. */
export function Ago({ ts }: { ts: string }) {
  const { i18n } = useTranslation();
  const now = useNow(1000);
  const date = new Date(ts);
  return (
    <time dateTime={ts} title={date.toLocaleString(i18n.language)} className="nowrap">
      {ago(Math.max(0, now - date.getTime()), i18n.language)}
    </time>
  );
}

function ago(ms: number, language: string): string {
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return format.format(-seconds, "second");
  if (seconds < 3600) return format.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86_400) return format.format(-Math.floor(seconds / 3600), "hour");
  return format.format(-Math.floor(seconds / 86_400), "day");
}

export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
