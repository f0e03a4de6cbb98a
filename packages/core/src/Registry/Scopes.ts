/** What a token is good for: `type:name:action,action`. https://distribution.github.io/distribution/spec/auth/scope/ */

export type Action = "pull" | "push" | "delete"

export const catalog = "registry:catalog:*"

export const repository = (name: string, ...actions: ReadonlyArray<Action>): string =>
  `repository:${name}:${actions.join(",")}`

/** The wanted scopes, each resource once, with what the registry asks beyond for the same resources. */
export const merge = (wanted: ReadonlyArray<string>, asked: ReadonlyArray<string>): ReadonlyArray<string> => {
  const actions = new Map<string, Set<string>>()
  const add = (scope: string, isOurs: boolean) => {
    const [resource, list] = split(scope)
    const known = actions.get(resource)
    // A registry could ask for a token to somebody else's repository.
    if (known === undefined && !isOurs) return
    actions.set(resource, new Set([...(known ?? []), ...list]))
  }
  for (const scope of wanted) add(scope, true)
  for (const scope of asked) add(scope, false)
  return [...actions].map(([resource, list]) => `${resource}:${[...list].sort().join(",")}`)
}

/** Those that the registry asks for, of the resources that are wanted. */
export const only = (wanted: ReadonlyArray<string>, asked: ReadonlyArray<string>): ReadonlyArray<string> => {
  const resources = new Set(wanted.map((scope) => split(scope)[0]))
  return asked.filter((scope) => resources.has(split(scope)[0]))
}

/** What may be asked for at a host that a request for reading was redirected to. */
export const reading = (asked: ReadonlyArray<string>): ReadonlyArray<string> =>
  asked.flatMap((scope) => {
    const [resource, actions] = split(scope)
    return resource.startsWith("repository:") && actions.includes("pull") ? [`${resource}:pull`] : []
  })

// internal

/** A name may hold colons, so the actions are behind the last one. */
const split = (scope: string): readonly [resource: string, actions: ReadonlyArray<string>] => {
  const at = scope.lastIndexOf(":")
  return at < 0
    ? [scope, []]
    : [
        scope.slice(0, at),
        scope
          .slice(at + 1)
          .split(",")
          .filter((action) => action !== "")
      ]
}
