import { QueryCache, QueryClient } from "@tanstack/react-query";
import { showSessionQueryKey } from "./api/@tanstack/react-query.gen";
import { isLoggedOut } from "./problems";

/** All that the console has read. The live stream keeps it fresh, so nothing is polled. */
export const queries = new QueryClient({
  queryCache: new QueryCache({
    onError: (error, query) => {
      const session = showSessionQueryKey();
      // A session that ended elsewhere: ask who is logged in, and the shell leads to the log-in page.
      if (isLoggedOut(error) && JSON.stringify(query.queryKey) !== JSON.stringify(session)) {
        void queries.resetQueries({ queryKey: session });
      }
    },
  }),
  defaultOptions: {
    queries: { staleTime: 30_000, refetchOnWindowFocus: false, retry: (count, error) => count < 2 && !isRefusal(error) },
  },
});

function isRefusal(error: unknown): boolean {
  const status = (error as { status?: number } | null)?.status;
  return status !== undefined && status < 500;
}
