/** The part of a token server that the quirks of registries need: it grants what it is told to, and remembers nothing. */
import { all, answer, type Quirk, type Request, refuse, type Site } from "./Rewrite.js"

export interface Options {
  /** Where tokens are, `/token`. */
  readonly path: string
  readonly service: string
  /** Written into challenges as the realm. Default: `path` at the registry itself. */
  readonly realm?: string | undefined
  /** The scopes in a challenge. Default: those of the request. */
  readonly challenge?: ((request: Request, scopes: ReadonlyArray<string>) => ReadonlyArray<string>) | undefined
  /** The granted scopes of those that were asked for, or a refusal. Default: all. */
  readonly grant?: ((scopes: ReadonlyArray<string>) => ReadonlyArray<string> | ReturnType<typeof refuse>) | undefined
  /** Whether whoever asks is known; without one anybody is. */
  readonly knows?: ((request: Request) => boolean) | undefined
  /** The name of the token in the answer. Default `token`. */
  readonly field?: "token" | "access_token" | undefined
}

/** Every request under `/v2/` needs a token that grants what it does. */
export const bearer = (options: Options): Quirk =>
  all({
    request: (request, site) => {
      if (request.path === options.path) return issue(options, request)
      const scopes = scopesOf(request)
      if (isGranted(request.headers.authorization, scopes)) return undefined
      return unauthorized(options, request, site, scopes)
    }
  })

/** The 401 that asks for a token. */
export const unauthorized = (
  { challenge = (_, scopes) => scopes, path, realm, service }: Options,
  request: Request,
  site: Site,
  scopes: ReadonlyArray<string>
) => {
  const scope = challenge(request, scopes).join(" ")
  const parts = [`realm="${realm ?? `${site.url}${path}`}"`, `service="${service}"`]
  const error = request.headers.authorization === undefined ? [] : [`error="insufficient_scope"`]
  const value = [...parts, ...(scope === "" ? [] : [`scope="${scope}"`]), ...error].join(",")
  return refuse(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": `Bearer ${value}` })
}

/** The parameters of a request for a token: of the form that was posted, or of the query. */
export const parametersOf = ({ body, method, query }: Request): URLSearchParams =>
  new URLSearchParams(method === "POST" ? (body?.toString() ?? "") : query)

/** What docker's registry asks for: pull to read, push besides to write, and pull at the other end of a mount. */
export const scopesOf = ({ kind, method, query, repository }: Request): ReadonlyArray<string> => {
  if (kind === "catalog") return ["registry:catalog:*"]
  if (repository === "") return []
  const from = method === "POST" ? new URLSearchParams(query).get("from") : null
  const actions =
    method === "GET" || method === "HEAD" ? "pull" : method === "DELETE" && kind !== "upload" ? "delete" : "pull,push"
  return [`repository:${repository}:${actions}`, ...(from === null ? [] : [`repository:${from}:pull`])]
}

// internal

const issue = ({ field = "token", grant = (all) => all, knows, service }: Options, request: Request) => {
  const parameters = parametersOf(request)
  if (knows?.(request) === false || parameters.get("service") !== service) {
    return refuse(401, "UNAUTHORIZED", "authentication failed")
  }
  const granted = grant(parameters.getAll("scope").flatMap((scope) => scope.split(" ")))
  if ("answer" in granted) return granted
  const token = Buffer.from(JSON.stringify(granted)).toString("base64url")
  return answer(200, { "content-type": "application/json" }, JSON.stringify({ [field]: token, expires_in: 300 }))
}

const isGranted = (authorization: string | undefined, needed: ReadonlyArray<string>): boolean => {
  if (authorization?.startsWith("Bearer ") !== true) return false
  const granted: ReadonlyArray<string> = JSON.parse(Buffer.from(authorization.slice(7), "base64url").toString())
  return pairs(needed).every((pair) => {
    const resource = pair.slice(0, pair.lastIndexOf(" "))
    return pairs(granted).some((held) => held === pair || held === `${resource} *`)
  })
}

/** `repository:name action`, one for each action. */
const pairs = (scopes: ReadonlyArray<string>): ReadonlyArray<string> =>
  scopes.flatMap((scope) => {
    const at = scope.lastIndexOf(":")
    return scope
      .slice(at + 1)
      .split(",")
      .map((action) => `${scope.slice(0, at)} ${action}`)
  })
