import { Button, Skeleton } from "@mantine/core";
import { useTranslation } from "react-i18next";

/** Rows that are being read. */
export function RowsComing({ columns, rows = 6 }: { columns: number; rows?: number }) {
  return Array.from({ length: rows }, (_, row) => (
    <tr key={row} aria-hidden="true">
      <td colSpan={columns}>
        <Skeleton height={14} width={`${86 - ((row * 17) % 40)}%`} my={4} />
      </td>
    </tr>
  ));
}

/** The way to the next page of a list, if it has one. */
export function More({ query }: { query: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown } }) {
  const { t } = useTranslation();
  if (!query.hasNextPage) return null;
  return (
    <div className="body">
      <Button variant="default" size="xs" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        {t("list.more")}
      </Button>
    </div>
  );
}
