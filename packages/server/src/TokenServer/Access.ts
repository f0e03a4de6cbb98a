/** What a token is good for, and who may have one. https://distribution.github.io/distribution/spec/auth/scope/ */

/** `type:name:action,action` in its parts. */
export interface Scope {
  readonly type: string
  readonly name: string
  readonly actions: ReadonlyArray<string>
}

/**
 * Actions by `type:name`; a `*` at the end of the name stands for whatever follows, and as an action for all of them:
 * `{ "repository:team/*": ["pull", "push"] }`.
 */
export type Access = Readonly<Record<string, ReadonlyArray<string>>>

export const everything: Access = { "*": ["*"] }

/** A name may hold colons (`host:5000/app`), so the actions are behind the last one. `undefined` where it is no scope. */
export const parse = (text: string): Scope | undefined => {
  const match = /^([^:]+):(.+):([^:]*)$/.exec(text)
  if (match === null) return undefined
  const actions = (match[3] ?? "").split(",").filter((action) => action !== "")
  return { type: match[1] ?? "", name: match[2] ?? "", actions }
}

export const format = ({ actions, name, type }: Scope): string => `${type}:${name}:${actions.join(",")}`

/** The part of the scope that is allowed; `undefined` for none of it. */
export const grant = (access: Access, scope: Scope): Scope | undefined => {
  const name = `${scope.type}:${scope.name}`
  const allowed = Object.entries(access).flatMap(([pattern, actions]) =>
    pattern === name || (pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1))) ? actions : []
  )
  const actions = allowed.includes("*") ? scope.actions : scope.actions.filter((action) => allowed.includes(action))
  return actions.length === 0 ? undefined : { ...scope, actions }
}

/** Whether the scopes that were granted hold each one that is needed. */
export const covers = (granted: ReadonlyArray<Scope>, needed: ReadonlyArray<Scope>): boolean =>
  needed.every((scope) => {
    const same = granted.filter(({ name, type }) => type === scope.type && name === scope.name)
    return scope.actions.every((action) => same.some(({ actions }) => actions.includes(action)))
  })

/** What a registry request needs, as docker-registry has it. `GET /v2/` needs a token, good for anything. */
export const needed = (method: string, path: string, query: string): ReadonlyArray<Scope> => {
  if (path === "/v2/_catalog") return [{ type: "registry", name: "catalog", actions: ["*"] }]
  const name = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(path)?.[1]
  if (name === undefined) return []
  const own = { type: "repository", name: decodeURIComponent(name), actions: actionsOf(method) }
  const from = method === "POST" ? new URLSearchParams(query).get("from") : null
  return from === null || from === "" ? [own] : [own, { type: "repository", name: from, actions: ["pull"] }]
}

// internal

const actionsOf = (method: string): ReadonlyArray<string> => {
  if (method === "GET" || method === "HEAD") return ["pull"]
  return method === "DELETE" ? ["delete"] : ["pull", "push"]
}
