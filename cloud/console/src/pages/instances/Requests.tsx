import { useTranslation } from "react-i18next";
import type { RequestOut } from "../../api/types.gen";
import marks from "../../components/marks.module.css";
import { Moment } from "../../components/Time";
import own from "./Instances.module.css";

const TONES = { done: "good", sent: "warn", refused: "bad" } as const;

/** What was asked of an instance at a gateway, and what came of it there. */
export function Requests({ requests }: { requests: RequestOut[] }) {
  const { t } = useTranslation();
  if (requests.length === 0) return null;
  return (
    <section className="card" aria-labelledby="requests">
      <h2 id="requests">{t("instance.requests")}</h2>
      <table className="grid">
        <tbody>
          {requests.map(({ id, gateway, kind, about, asked, answered, status, refused }) => (
            <tr key={id} data-request={kind} data-status={status}>
              <td className={own.record}>
                {t(`instance.${kind}`)} <q>{about}</q>
                <div className="dim small">
                  <Moment ts={asked} />
                </div>
                {refused && <div className={own.failed}>{refused}</div>}
              </td>
              <td className="top">
                <span className={marks.mark}>
                  <span className={marks.dot} data-tone={TONES[status]} />
                  {t(`instance.request.${status}`)}
                </span>
                <div className="dim small">{answered === null ? t("instance.notAnswered", { gateway }) : <Moment ts={answered} />}</div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
