import { isObject } from "../../json";

type Values = Record<string, unknown>;

/** Return the merge patch (RFC 7396) that makes one object of another; what is there no more becomes null. */
export function mergePatch(from: Values, to: Values): Values {
  const gone = Object.keys(from).filter((name) => !(name in to));
  const changed = Object.entries(to).filter(([name, value]) => JSON.stringify(from[name]) !== JSON.stringify(value));
  const patches = changed.map(([name, value]) => {
    const had = from[name];
    return [name, isObject(had) && isObject(value) ? mergePatch(had, value) : value];
  });
  return Object.fromEntries([...gone.map((name) => [name, null]), ...patches]);
}

/** Return an object with a merge patch applied. */
export function patched(values: Values, patch: Values): Values {
  const after = { ...values };
  for (const [name, value] of Object.entries(patch)) {
    const had = after[name];
    if (value === null) delete after[name];
    else after[name] = isObject(value) ? patched(isObject(had) ? had : {}, value) : value;
  }
  return after;
}
