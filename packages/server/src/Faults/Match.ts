/** Which requests a fault is for. */
import type { Request } from "../Faults.js"
import * as Route from "../Route.js"

/** What a request is for, as the specification cuts it: `BlobGet` and `ManifestGet` are HEAD requests too. */
export type RouteName = Route.Route["_tag"]

/** All that is given must fit; `{}` is every request. */
export type Match =
  | {
      readonly method?: string | ReadonlyArray<string> | undefined
      /** Searched in the path, which has no query. */
      readonly path?: RegExp | undefined
      readonly route?: RouteName | ReadonlyArray<RouteName> | undefined
    }
  | ((request: Request) => boolean)

export const matches = (match: Match, request: Request): boolean => {
  if (typeof match === "function") return match(request)
  const { method, path, route } = match
  return (
    isOneOf(method, request.method) &&
    // `search` starts at the beginning even where the expression has the `g` flag.
    (path === undefined || request.path.search(path) >= 0) &&
    (route === undefined || isOneOf(route, Route.parse(request.method, request.path, request.query)._tag))
  )
}

// internal

const isOneOf = (wanted: string | ReadonlyArray<string> | undefined, actual: string): boolean =>
  wanted === undefined || (typeof wanted === "string" ? wanted === actual : wanted.includes(actual))
