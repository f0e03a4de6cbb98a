/** What differs between the settings of two images, field by field. */
import type { ImageConfig } from "@effect-registry/core"
import * as Predicate from "effect/Predicate"

/** One setting. `field` is the config's own name in lower camel case, `key` that of a variable, label, port or volume. */
export interface ConfigChange {
  readonly field: string
  readonly key: string | undefined
  /** As text; JSON for lists. `undefined` where that image has it not. */
  readonly before: string | undefined
  readonly after: string | undefined
}

/** The changed settings, in an order of their own: of the platform first, then of what is run, then the others. */
export const changes = (
  a: ImageConfig.ImageConfig | undefined,
  b: ImageConfig.ImageConfig | undefined
): ReadonlyArray<ConfigChange> => {
  const before = settings(a)
  const after = settings(b)
  const names = [...new Set([...before.keys(), ...after.keys()])]
  return names
    .flatMap((name) => {
      const was = before.get(name)
      const is = after.get(name)
      const any = was ?? is
      return any === undefined || was?.value === is?.value
        ? []
        : [{ field: any.field, key: any.key, before: was?.value, after: is?.value }]
    })
    .sort((x, y) => rank(x.field) - rank(y.field) || order(x.field, y.field) || order(x.key ?? "", y.key ?? ""))
}

// internal

interface Setting {
  readonly field: string
  readonly key: string | undefined
  readonly value: string
}

/** Of the document's own fields those that a container or its reader notices. */
const outer = ["os", "os.version", "architecture", "variant", "created", "author"] as const

const ranks = [...outer, "env", "entrypoint", "cmd", "workingDir", "user", "exposedPorts", "volumes", "labels"]

const rank = (field: string): number => {
  const at = ranks.indexOf(field)
  return at < 0 ? ranks.length : at
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Every setting by field and key. Empty ones are none: tools write them as `""`, `[]`, `{}` and `null`, or not at all. */
const settings = (image: ImageConfig.ImageConfig | undefined): ReadonlyMap<string, Setting> => {
  const found = new Map<string, Setting>()
  const add = (field: string, key: string | undefined, value: unknown) => {
    if (key === undefined && isEmpty(value)) return
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "")
    found.set(JSON.stringify([field, key ?? null]), { field, key, value: text })
  }
  for (const field of outer) add(field, undefined, image?.[field])
  for (const [name, value] of Object.entries(image?.config ?? {})) {
    const field = name.charAt(0).toLowerCase() + name.slice(1)
    if (name === "Env" && Array.isArray(value)) for (const each of value) addVariable(add, String(each))
    else if (keyed.has(name) && Predicate.isRecord(value)) {
      for (const [key, each] of Object.entries(value)) add(field, key, name === "Labels" ? each : "")
    } else add(field, undefined, value)
  }
  return found
}

/** Settings that are a set of keys, each a setting of its own. */
const keyed = new Set(["Labels", "ExposedPorts", "Volumes"])

const addVariable = (add: (field: string, key: string, value: string) => void, entry: string): void => {
  const equals = entry.indexOf("=")
  if (equals < 0) add("env", entry, "")
  else add("env", entry.slice(0, equals), entry.slice(equals + 1))
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  value === false ||
  (typeof value === "object" && Object.keys(value).length === 0)
