import { useQuery } from "@tanstack/react-query";
import { showSessionOptions } from "../api/@tanstack/react-query.gen";

/** Whether who is logged in may change anything: a viewer may not. */
export function useMayChange(): boolean {
  const session = useQuery({ ...showSessionOptions(), staleTime: Number.POSITIVE_INFINITY });
  return session.data?.role === "operator" || session.data?.role === "admin";
}
